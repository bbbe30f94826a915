import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { takeHome } from './tenancy.ts';

test('of two starts that find a dead one in their home, one has it and the other touches nothing', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'tenancy-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const dead = spawn('true');
  await once(dead, 'close');
  const gone = { pid: dead.pid, since: '1' };
  // A runtime is what is waited for while it is cleared away, so both are on their way at one moment.
  writeFileSync(join(home, 'start.json'), JSON.stringify({ start: gone, runtime: gone, url: 'http://x' }));
  const both = await Promise.all([
    takeHome(home, 'http://a', () => {}),
    takeHome(home, 'http://b', () => {}),
  ]);
  const [taken, ...more] = both.filter(({ kind }) => kind === 'taken');
  assert.equal(more.length, 0);
  assert.ok(taken?.kind === 'taken');
  const own = readFileSync(join(home, 'start.json'), 'utf8');
  assert.match((await takeHome(home, 'http://c', () => {})).kind, /running/);
  assert.equal(readFileSync(join(home, 'start.json'), 'utf8'), own);
  taken.lease.release();
  assert.ok(!existsSync(join(home, 'start.json')));
});
