// effort=auto on a fleet with real weights: a deadline that the whole picture cannot meet is met by a smaller one.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import sharp from 'sharp';
import { site, startCluster, toonfleet } from './cluster.ts';
import { photo } from './pictures.ts';

const WEIGHTS = join(process.env.TOONFLEET_TEST_ASSETS ?? '../shared', 'models/AnimeGANv3_tiny_Cute.onnx');
const NO_WEIGHTS = !existsSync(WEIGHTS) && `${WEIGHTS} is not there: no model that is slow enough`;
const SIDE = 1024;

test('a deadline of 600 ms is met by AnimeGANv3 tiny at 1024 px with effort=auto, and the answer says how', {
  skip: NO_WEIGHTS,
}, async (context) => {
  const place = await site(context, {
    TOONFLEET_WORKER__COUNT: '1',
    TOONFLEET_MODELS__LOAD: '["meadow","tiny"]',
  });
  const words = ['--name', 'tiny', '--style', 'cute:Cute', '--multiple', '16', '--min-side', '256'];
  const licence = ['--licence', 'for this test only', '--accept-licence'];
  const added = await toonfleet(place, 'models', 'add', WEIGHTS, ...words, ...licence);
  assert.equal(added.code, 0, added.output);
  const cluster = await startCluster(place);
  const draw = async (query: string, headers: Record<string, string> = {}) => {
    const from = performance.now();
    const answer = await fetch(`${cluster.url}/v1/images?style=cute&format=jpeg&${query}`, {
      method: 'POST',
      body: new Uint8Array(await photo(1, SIDE, SIDE)),
      headers,
    });
    const body = Buffer.from(await answer.arrayBuffer());
    return { answer, body, ms: performance.now() - from };
  };

  // Also the first picture with such a deadline is answered, when only the golden picture has told how fast the model is.
  const first = await draw('effort=auto', { 'x-deadline-ms': '30000' });
  assert.equal(first.answer.status, 200, first.body.toString('utf8', 0, 300));
  const wholes = [await draw('effort=full'), await draw('effort=full')];
  for (const { answer } of wholes) assert.equal(answer.headers.get('x-effort'), 'full');
  const whole = Math.min(...wholes.map(({ ms }) => ms));

  // A machine that is busy with other things gets as much of the whole as 600 ms are on a quiet one.
  const deadlineMs = Math.max(600, Math.round(whole * 0.6));
  const auto = await draw('effort=auto', { 'x-deadline-ms': String(deadlineMs) });
  const said = auto.answer.headers.get('x-effort') ?? '';
  context.diagnostic(
    `whole ${whole.toFixed(0)} ms; within ${deadlineMs} ms: ${auto.answer.status} in ${auto.ms.toFixed(0)} ms, ${said}`,
  );
  assert.equal(auto.answer.status, 200, auto.body.toString('utf8', 0, 300));
  assert.equal(auto.answer.headers.get('cache-control'), 'no-store');
  const side = Number(/^fast; side=(\d+)$/.exec(said)?.[1] ?? SIDE);
  assert.ok(side < SIDE || whole < 600, `drawn as ${said}`);
  const { width, height } = await sharp(auto.body).metadata();
  assert.deepEqual([width, height], [side, side]);
});
