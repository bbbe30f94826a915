// effort=auto in a whole worker that has learnt how long its pictures take.

import assert from 'node:assert/strict';
import test from 'node:test';
import sharp from 'sharp';
import { jpeg } from './test-pictures.ts';
import { ask, startTestWorker } from './test-worker.ts';

const DEADLINE = { 'x-deadline-ms': '6000', 'content-type': 'image/jpeg' };

/** A worker that believes a megapixel of meadow to take so many seconds, and one of ink a tenth of one. */
async function slowWorker(
  t: Parameters<typeof startTestWorker>[0],
  seconds = 10,
  env: Record<string, string> = {},
) {
  const worker = await startTestWorker(t, { env });
  for (let octave = -12; octave <= 1; octave++) {
    for (let n = 0; n < 60; n++) {
      worker.parts.speed.proved('meadow', 1e6 * 2 ** octave, 1000 * seconds * 2 ** octave);
      worker.parts.speed.proved('ink', 1e6 * 2 ** octave, 100 * 2 ** octave);
    }
  }
  return worker;
}

test('under a short deadline auto draws as large as is in time, says so, and is not to be kept', async (t) => {
  const { port } = await slowWorker(t);
  const body = await jpeg(1024, 1024);
  const answer = await ask(port, '/v1/images?effort=auto', { body, headers: DEADLINE });
  assert.equal(answer.status, 200, answer.body.toString('utf8', 0, 300));
  assert.equal(answer.headers['x-effort'], 'fast; side=512');
  assert.equal(answer.headers['cache-control'], 'no-store');
  const { width, height } = await sharp(answer.body).metadata();
  assert.deepEqual([width, height], [512, 512]);
});

test('full stays full under the same deadline', async (t) => {
  const { port } = await slowWorker(t);
  const answer = await ask(port, '/v1/images', { body: await jpeg(1024, 1024), headers: DEADLINE });
  assert.equal(answer.headers['x-effort'], 'full');
  assert.equal((await sharp(answer.body).metadata()).width, 1024);
});

test('where no size is in time, auto draws the lighter style of the settings, and every header says so', async (t) => {
  const { port } = await slowWorker(t, 200, { TOONFLEET_MODELS__LIGHTER_STYLE: 'ink' });
  const answer = await ask(port, '/v1/images?effort=auto&format=json&style=meadow', {
    body: await jpeg(1024, 1024),
    headers: DEADLINE,
  });
  assert.equal(answer.status, 200, answer.body.toString('utf8', 0, 300));
  assert.equal(answer.headers['x-effort'], 'fast; style=ink');
  assert.equal(answer.headers['x-style'], 'ink');
  const { style, effort, width } = answer.json();
  assert.deepEqual({ style, effort, width }, { style: 'ink', effort: 'fast', width: 1024 });
});
