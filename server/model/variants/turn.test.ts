import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { inTurn } from './turn.ts';

const SOON = { mostMs: 20_000, pollMs: 5, staleMs: 20_000 };

async function place(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'variants/model.lock');
}

test('of many who want to work at once one works at a time, and all get their turn', async (t) => {
  const lock = await place(t);
  let [working, most, done] = [0, 0, 0];
  await Promise.all(
    Array.from({ length: 6 }, () =>
      inTurn(
        lock,
        async () => {
          working += 1;
          most = Math.max(most, working);
          await new Promise((resolve) => setImmediate(resolve));
          working -= 1;
          done += 1;
        },
        SOON,
      ),
    ),
  );
  assert.deepEqual([most, done], [1, 6]);
  assert.equal(existsSync(lock), false);
});

test('work that fails gives the turn to the next', async (t) => {
  const lock = await place(t);
  await assert.rejects(
    inTurn(lock, () => Promise.reject(new Error('broken')), SOON),
    /broken/,
  );
  assert.equal(await inTurn(lock, async () => 'done', SOON), 'done');
});

test('the lock of a process that has died holds nobody up', async (t) => {
  const lock = await place(t);
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  await inTurn(lock, () => writeFile(lock, String(child.pid)), SOON);
  await writeFile(lock, String(child.pid));
  assert.equal(await inTurn(lock, async () => 'done', SOON), 'done');
});

test('a lock that is older than any work holds nobody up, though its process id lives', async (t) => {
  const lock = await place(t);
  await inTurn(lock, async () => {}, SOON);
  await writeFile(lock, String(process.ppid));
  await utimes(lock, 1000, 1000);
  assert.equal(await inTurn(lock, async () => 'done', SOON), 'done');
});

test('who has waited long enough works without the lock, and leaves it to its holder', async (t) => {
  const lock = await place(t);
  await inTurn(lock, async () => {}, SOON);
  await writeFile(lock, String(process.ppid));
  assert.equal(await inTurn(lock, async () => 'done', { ...SOON, mostMs: 30 }), 'done');
  assert.equal(existsSync(lock), true);
});

test('a lock that was left behind is taken over by one of many', async (t) => {
  const lock = await place(t);
  await inTurn(lock, async () => {}, SOON);
  await writeFile(lock, String(process.ppid));
  await utimes(lock, 1000, 1000);
  let [working, most] = [0, 0];
  const work = async () => {
    most = Math.max(most, ++working);
    for (let turns = 0; turns < 200; turns++) await new Promise((resolve) => setImmediate(resolve));
    working -= 1;
  };
  await Promise.all(Array.from({ length: 40 }, () => inTurn(lock, work, SOON)));
  assert.equal(most, 1);
  assert.deepEqual(await readdir(dirname(lock)), []);
});

test('who was passed over because he took too long leaves the lock to its new holder', async (t) => {
  const lock = await place(t);
  await inTurn(lock, () => writeFile(lock, String(process.ppid)), SOON);
  assert.equal(existsSync(lock), true);
});

test('a disk that is full leaves no lock behind that others would wait for', async (t) => {
  const lock = await place(t);
  await mkdir(dirname(lock));
  const turn = JSON.stringify(new URL('./turn.ts', import.meta.url).href);
  const script = `const { inTurn } = await import(${turn}); await inTurn(process.argv[1], async () => {});`;
  // No file may have a byte: it can be made, and not written to.
  const child = spawn('sh', [
    '-c',
    'ulimit -f 0; exec "$@" 2>&1 | cat',
    'sh',
    process.execPath,
    '--import',
    'tsx',
    '--input-type=module',
    '--eval',
    script,
    lock,
  ]);
  await once(child, 'exit');
  assert.deepEqual(await readdir(dirname(lock)), []);
});

test('where no lock can be written everybody works', async () => {
  assert.equal(await inTurn('/dev/null/nowhere/model.lock', async () => 'done', SOON), 'done');
});
