import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { turnLogs } from './chores.ts';

test('a log beyond its limit is turned once, others are left alone', async (context) => {
  const home = mkdtempSync(join(tmpdir(), 'chores-'));
  context.after(() => rmSync(home, { recursive: true, force: true }));
  const long = join(home, 'worker.log');
  const short = join(home, 'agent.log');
  const other = join(home, 'rpc.sock');
  writeFileSync(long, 'x'.repeat(101));
  writeFileSync(short, 'x'.repeat(100));
  writeFileSync(other, 'x'.repeat(500));
  assert.deepEqual(await turnLogs([home, join(home, 'nowhere')], 100), [long]);
  assert.equal(readFileSync(`${long}.1`, 'utf8').length, 101);
  appendFileSync(long, 'new');
  assert.equal(readFileSync(long, 'utf8'), 'new');
  assert.equal(existsSync(`${short}.1`), false);
  assert.equal(readFileSync(other, 'utf8').length, 500);
});
