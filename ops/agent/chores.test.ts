import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { cutLogs, turnLogs } from './chores.ts';

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'chores-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a log beyond its limit is cut once, others are left alone', async (context) => {
  const home = folder(context);
  const long = join(home, 'pm2.log');
  const short = join(home, 'agent.log');
  const other = join(home, 'rpc.sock');
  writeFileSync(long, 'x'.repeat(101));
  writeFileSync(short, 'x'.repeat(100));
  writeFileSync(other, 'x'.repeat(500));
  assert.deepEqual(await cutLogs(home, 100), [long]);
  assert.deepEqual(await cutLogs(join(home, 'nowhere'), 100), []);
  assert.equal(readFileSync(`${long}.1`, 'utf8').length, 101);
  appendFileSync(long, 'new');
  assert.equal(readFileSync(long, 'utf8'), 'new');
  assert.equal(existsSync(`${short}.1`), false);
  assert.equal(readFileSync(other, 'utf8').length, 500);
});

test('logs are put aside as they are, and their writers are told once', async (context) => {
  const home = folder(context);
  const [one, two] = [join(home, 'balancer.log'), join(home, 'worker.log')];
  for (const path of [one, two]) writeFileSync(path, 'x'.repeat(101));
  const { ino } = statSync(two);
  let told = 0;
  const reopen = async () => ++told > 0;
  assert.deepEqual(await turnLogs(home, 100, reopen), { turned: [one, two] });
  assert.equal(statSync(`${two}.1`).ino, ino);
  assert.equal(existsSync(two), false);
  assert.deepEqual(await turnLogs(home, 100, reopen), { turned: [] });
  assert.equal(told, 1);
});

test('a log that cannot be put aside is told of, and the others are turned', async (context) => {
  const home = folder(context);
  const [good, bad] = [join(home, 'balancer.log'), join(home, 'worker.log')];
  for (const path of [good, bad]) writeFileSync(path, 'x'.repeat(101));
  mkdirSync(`${bad}.1/full`, { recursive: true });
  let told = 0;
  const { turned, fault } = await turnLogs(home, 100, async () => ++told > 0);
  assert.deepEqual([turned, told], [[good], 1]);
  assert.match(fault ?? '', /worker\.log could not be renamed \(E[A-Z]+\)/);
  assert.equal(existsSync(bad), true);
});

for (const [name, reopen] of [
  ['cannot be told', async () => false],
  ['breaks down', () => Promise.reject(new Error('x'))],
] as const)
  test(`when PM2 ${name}, the logs keep their names and their writers`, async (context) => {
    const home = folder(context);
    const path = join(home, 'worker.log');
    writeFileSync(path, 'x'.repeat(101));
    const { ino } = statSync(path);
    const { turned, fault } = await turnLogs(home, 100, reopen);
    assert.deepEqual(turned, []);
    assert.match(fault ?? '', /PM2/);
    assert.equal(statSync(path).ino, ino);
  });
