import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { type LogQuery, logQuerySchema } from '../../config/contract.ts';
import { readLogs } from './log-files.ts';

const START = Date.UTC(2026, 10, 21, 17, 0, 0);

function folder(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'log-files-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
const line = (n: number, fields: object = {}) =>
  `${JSON.stringify({ level: 'info', time: new Date(START + n).toISOString(), role: 'worker', n, ...fields })}\n`;
const lines = (from: number, to: number, fields: object = {}) =>
  Array.from({ length: to - from }, (_, index) => line(from + index, fields)).join('');
const query = (fields: Partial<LogQuery> = {}) => logQuerySchema.parse(fields);
const numbers = (entries: readonly { text: string }[]) =>
  entries.map(({ text }) => (text.startsWith('{') ? (JSON.parse(text) as { n: number }).n : text));
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

test('the last lines of all processes come in the order of time, over a rotation too', async (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'worker.log.2'), line(0));
  writeFileSync(join(dir, 'worker.log.1'), line(2) + line(4));
  writeFileSync(join(dir, 'worker.log'), line(6));
  writeFileSync(join(dir, 'balancer.log'), line(1) + line(3) + line(5));
  writeFileSync(join(dir, 'worker.log.3.gz'), 'not read');
  writeFileSync(join(dir, 'other.log'), line(9));
  const all = await readLogs(dir, query());
  assert.deepEqual(numbers(all.entries), range(0, 7));
  assert.equal(all.more, false);
  const last = await readLogs(dir, query({ lines: 3 }));
  assert.deepEqual(numbers(last.entries), [4, 5, 6]);
  assert.equal(last.more, true);
  assert.deepEqual(numbers((await readLogs(dir, query({ app: 'balancer' }))).entries), [1, 3, 5]);
  assert.deepEqual(numbers((await readLogs(dir, query({ since: START + 3 }))).entries), [3, 4, 5, 6]);
});

test('compressed logs are counted when the search comes to them and they may hold what is wanted', async (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'worker.log'), line(6) + line(8));
  for (const [name, lastWritten] of [
    ['worker.log.2.gz', START + 5],
    ['worker.log-20261121.gz', START + 2],
    ['agent.log.1.gz', START + 5],
    ['other.log.1.gz', START + 5],
  ] as const) {
    writeFileSync(join(dir, name), 'not read');
    utimesSync(join(dir, name), lastWritten / 1000, lastWritten / 1000);
  }
  const unread = async (fields: Partial<LogQuery>) => (await readLogs(dir, query(fields))).unread;
  assert.equal(await unread({}), 3);
  assert.equal(await unread({ app: 'worker', request: 'mine' }), 2);
  assert.equal(await unread({ app: 'worker', since: START + 4 }), 1);
  assert.equal(await unread({ app: 'worker', since: START + 7 }), 0, 'what is wanted is younger');
  assert.equal(await unread({ lines: 2 }), 0, 'there are as many lines as were wanted');
});

test('a file of nothing but one endless line costs no memory, and what is behind it is told to be left', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'worker.log');
  writeFileSync(path, '');
  // Cut short under a writer that went on where it was, it has a hole in front.
  truncateSync(path, 100 * 1024 * 1024);
  appendFileSync(path, `\n${line(1)}`);
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }, 1);
  const { entries, more } = await readLogs(dir, query());
  clearInterval(watch);
  assert.deepEqual(numbers(entries), [1]);
  assert.equal(more, true);
  assert.ok(most < 64 * 1024 * 1024, `${most} bytes`);
});

test('a folder that is not there holds nothing', async () => {
  assert.deepEqual((await readLogs('/nowhere/at/all', query())).entries, []);
});

test('lines that are no events stand behind the event before them', async (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'worker.log'), `first of all\n${line(1)}Error: x\n    at y\n${line(5)}`);
  writeFileSync(join(dir, 'balancer.log'), line(3));
  assert.deepEqual(numbers((await readLogs(dir, query())).entries), [
    'first of all',
    1,
    'Error: x',
    '    at y',
    3,
    5,
  ]);
  assert.deepEqual(numbers((await readLogs(dir, query({ level: 'error' }))).entries), [
    'first of all',
    'Error: x',
    '    at y',
  ]);
});

test('one request is found among many thousands of lines, older than the last thousands', async (t) => {
  const dir = folder(t);
  writeFileSync(
    join(dir, 'worker.log'),
    lines(0, 5_000) + line(5_000, { request_id: 'mine' }) + lines(5_001, 30_000),
  );
  const { entries } = await readLogs(dir, query({ request: 'mine' }));
  assert.deepEqual(numbers(entries), [5_000]);
});

test('a line that is still being written is given once it is whole', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'worker.log');
  const half = line(1);
  writeFileSync(path, line(0) + half.slice(0, 20));
  const first = await readLogs(dir, query());
  assert.deepEqual(numbers(first.entries), [0]);
  appendFileSync(path, half.slice(20));
  const next = await readLogs(dir, query({ cursor: first.cursor }));
  assert.deepEqual(numbers(next.entries), [1]);
});

test('going on with the cursor gives every line once, over rotations and starts from nothing', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'worker.log');
  let { cursor } = await readLogs(dir, query());
  const seen: unknown[] = [];
  const next = async () => {
    const batch = await readLogs(dir, query({ cursor, lines: 2_000 }));
    cursor = batch.cursor;
    seen.push(...numbers(batch.entries));
    return batch;
  };
  writeFileSync(path, lines(0, 3));
  await next();
  appendFileSync(path, lines(3, 5));
  renameSync(path, `${path}.1`);
  appendFileSync(`${path}.1`, lines(5, 6));
  writeFileSync(path, lines(6, 8));
  await next();
  appendFileSync(path, lines(8, 10));
  renameSync(`${path}.1`, `${path}.2`);
  renameSync(path, `${path}.1`);
  writeFileSync(path, lines(10, 12_000));
  while ((await next()).more);
  assert.deepEqual(seen, range(0, 12_000));
});

test('a log that was cut short is read from its start', async (t) => {
  const dir = folder(t);
  const path = join(dir, 'worker.log');
  writeFileSync(path, lines(0, 5));
  const { cursor } = await readLogs(dir, query());
  writeFileSync(path, lines(5, 6));
  assert.deepEqual(numbers((await readLogs(dir, query({ cursor }))).entries), [5]);
});

test('a cursor of somebody else is refused', async () => {
  for (const cursor of ['x', Buffer.from('{"worker":[1,-5]}').toString('base64url')])
    await assert.rejects(readLogs('/nowhere', query({ cursor })), { code: 'bad_request' });
});

test('however long the lines and wherever the files were rotated, the last ones are the last ones', async (t) => {
  const dir = folder(t);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: 300_000 }), { minLength: 1, maxLength: 8 }),
      fc.nat(8),
      fc.integer({ min: 1, max: 9 }),
      async (lengths, cut, wanted) => {
        const all = lengths.map((length, n) =>
          line(n, { pad: 'ä'.repeat(length % 997 === 0 ? 140_000 : length % 2_000) }),
        );
        writeFileSync(join(dir, 'agent.log.1'), all.slice(0, cut).join(''));
        writeFileSync(join(dir, 'agent.log'), all.slice(cut).join(''));
        const { entries } = await readLogs(dir, query({ lines: wanted, app: 'agent' }));
        const expected = range(Math.max(0, all.length - wanted), all.length);
        assert.deepEqual(
          entries.map(({ at }) => at - START),
          expected,
        );
      },
    ),
    { numRuns: 60 },
  );
});
