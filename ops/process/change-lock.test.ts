import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { changeUnderWay, takeChangeLock } from './change-lock.ts';
import { identify } from './process-identity.ts';

function homeFor(context: TestContext): string {
  const home = mkdtempSync(join(tmpdir(), 'lock-'));
  context.after(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

test('two changes never run at once, and the second one hears what the first one is', (context) => {
  const home = homeFor(context);
  assert.equal(changeUnderWay(home), undefined);
  const first = takeChangeLock(home, 'a reload');
  assert.equal(first.kind, 'taken');
  const second = takeChangeLock(home, 'a scaling');
  assert.equal(second.kind, 'held');
  assert.match(second.kind === 'held' ? second.sentence : '', /^a reload is under way \(process \d+, since /);
  assert.match(changeUnderWay(home) ?? '', /^a reload/);
  if (first.kind === 'taken') first.release();
  assert.equal(changeUnderWay(home), undefined);
  assert.equal(takeChangeLock(home, 'a scaling').kind, 'taken');
  assert.deepEqual(readdirSync(home), ['change.lock']);
});

test('the lock of a process that died, or whose number somebody else has, holds nobody up', async (context) => {
  const home = homeFor(context);
  const child = spawn('true');
  await once(child, 'close');
  const at = new Date().toISOString();
  writeFileSync(join(home, 'change.lock'), JSON.stringify({ pid: child.pid, since: '1', what: 'x', at }));
  assert.equal(changeUnderWay(home), undefined);
  const own = { ...identify(process.pid), since: '1' };
  writeFileSync(join(home, 'change.lock'), JSON.stringify({ ...own, what: 'x', at }));
  assert.equal(takeChangeLock(home, 'a scaling').kind, 'taken');
});
