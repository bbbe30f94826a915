import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { pm2Of, turnLogs } from './chores.ts';

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'chores-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a log beyond its limit is turned once, others are left alone', async (context) => {
  const home = folder(context);
  const long = join(home, 'worker.log');
  const short = join(home, 'agent.log');
  const other = join(home, 'rpc.sock');
  writeFileSync(long, 'x'.repeat(101));
  writeFileSync(short, 'x'.repeat(100));
  writeFileSync(other, 'x'.repeat(500));
  assert.deepEqual(await turnLogs(home, 100), [long]);
  assert.deepEqual(await turnLogs(join(home, 'nowhere'), 100), []);
  assert.equal(readFileSync(`${long}.1`, 'utf8').length, 101);
  appendFileSync(long, 'new');
  assert.equal(readFileSync(long, 'utf8'), 'new');
  assert.equal(existsSync(`${short}.1`), false);
  assert.equal(readFileSync(other, 'utf8').length, 500);
});

test('where the writers can be told, the file itself is put aside and they are told once', async (context) => {
  const home = folder(context);
  const [one, two] = [join(home, 'balancer.log'), join(home, 'worker.log')];
  for (const path of [one, two]) writeFileSync(path, 'x'.repeat(101));
  const { ino } = statSync(two);
  let told = 0;
  assert.deepEqual(await turnLogs(home, 100, () => told++), [one, two]);
  assert.equal(told, 1);
  assert.equal(statSync(`${two}.1`).ino, ino);
  assert.equal(existsSync(two), false);
  assert.deepEqual(await turnLogs(home, 100, () => told++), []);
  assert.equal(told, 1);
});

test('only the PM2 of this home is ever sent a signal', async (context) => {
  const home = folder(context);
  assert.equal(await pm2Of(home, 4711), undefined);
  writeFileSync(join(home, 'pm2.pid'), '4712');
  assert.equal(await pm2Of(home, 4711), undefined);
  assert.equal(await pm2Of(home, 4712), 4712);
});
