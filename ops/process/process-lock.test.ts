import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lockedBy, takeProcessLock } from './process-lock.ts';

function folderFor(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'process-lock-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What a process that is gone has left in its lock. */
async function deadText(): Promise<string> {
  const child = spawn('true');
  await once(child, 'close');
  return JSON.stringify({ pid: child.pid, since: '1', what: 'x', at: new Date().toISOString() });
}

const heard = async (child: ChildProcess) => ((await once(child, 'message')) as [string])[0];

test('of several who find the lock of a dead process at one moment exactly one has it', async (context) => {
  const folder = folderFor(context);
  const dead = await deadText();
  const contenders = Array.from({ length: 3 }, () =>
    fork(fileURLToPath(new URL('lock-contender.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] }),
  );
  context.after(() => {
    for (const contender of contenders) contender.kill();
  });
  await Promise.all(contenders.map(heard));
  for (let round = 0; round < 100; round++) {
    const own = join(folder, String(round));
    mkdirSync(own);
    const file = join(own, 'lock');
    writeFileSync(file, dead);
    const ends = contenders.map(heard);
    for (const contender of contenders) contender.send({ file, at: Date.now() + 5 });
    const kinds = await Promise.all(ends);
    assert.equal(kinds.filter((kind) => kind === 'taken').length, 1, `round ${round}: ${kinds}`);
    assert.deepEqual(readdirSync(own), ['lock']);
  }
});

test('who died on his way to the lock of a dead process holds nobody up either', async (context) => {
  const folder = folderFor(context);
  const file = join(folder, 'lock');
  const [first, second] = [await deadText(), await deadText()];
  writeFileSync(file, first);
  const claim = createHash('sha256').update(first).digest('hex').slice(0, 16);
  writeFileSync(`${file}.after-${claim}`, second);
  assert.equal(takeProcessLock(file, 'a try').kind, 'taken');
  assert.deepEqual(readdirSync(folder), ['lock']);
  assert.match(lockedBy(file) ?? '', /^a try is under way/);
});

test('what is no lock counts as left behind, and what cannot be read counts as held', (context) => {
  const folder = folderFor(context);
  const file = join(folder, 'lock');
  writeFileSync(file, 'half a');
  assert.equal(lockedBy(file), undefined);
  assert.equal(takeProcessLock(file, 'a try').kind, 'taken');
  const odd = join(folder, 'odd');
  mkdirSync(odd);
  const found = takeProcessLock(odd, 'a try');
  assert.match(found.kind === 'held' ? found.sentence : '', /odd cannot be read \(EISDIR\)/);
});
