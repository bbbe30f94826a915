import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { runHook } from './hook.ts';
import { identify, isAlive } from './process-identity.ts';

const ENVIRONMENT = { PATH: process.env.PATH, HOME: '/root', SECRET: 'not for programs' };

function folderFor(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hook-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const shell = (script: string, timeoutMs = 10_000) => ({
  command: ['/bin/sh', '-c', script, 'hook', 'an argument'],
  timeoutMs,
  variables: { SCALE_NODE: 'vm-3' },
});

test('a program gets its arguments and its own environment, and nothing else', async (context) => {
  const file = join(folderFor(context), 'said');
  const end = await runHook(shell(`echo "$1 $SCALE_NODE $SECRET$HOME" > ${file}`), ENVIRONMENT);
  assert.deepEqual(end, { kind: 'done' });
  assert.equal(readFileSync(file, 'utf8'), 'an argument vm-3 /root\n');
});

test('one that fails is told with its last words, and one that is not there by its name', async () => {
  const failed = await runHook(shell('echo no quota >&2; exit 3'), ENVIRONMENT);
  assert.deepEqual(failed, { kind: 'failed', why: '/bin/sh ended with 3: no quota' });
  const missing = await runHook({ command: ['/no/such'], timeoutMs: 1000, variables: {} }, ENVIRONMENT);
  assert.deepEqual(missing, { kind: 'unusable', why: '/no/such cannot be run (ENOENT)' });
});

test('one that hangs is killed with all that it has started', async (context) => {
  const file = join(folderFor(context), 'pid');
  const end = await runHook(shell(`sleep 600 & echo $! > ${file}; wait`, 300), ENVIRONMENT);
  assert.deepEqual(end, { kind: 'failed', why: '/bin/sh took longer than 300 ms and was killed: ' });
  const child = Number(readFileSync(file, 'utf8'));
  assert.equal(isAlive(identify(child)), false);
});

test('what it leaves behind on purpose holds nobody up', async (context) => {
  const file = join(folderFor(context), 'pid');
  const end = await runHook(shell(`setsid sleep 600 & echo $! > ${file}`), ENVIRONMENT);
  assert.deepEqual(end, { kind: 'done' });
  process.kill(Number(readFileSync(file, 'utf8')), 'SIGKILL');
});
