import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { livingOf } from './pm2.ts';

const skip = process.platform !== 'linux' && 'only Linux tells the environment of processes';

test('an app in a group of its own belongs to the family also when PM2 has taken its pid file away', {
  skip,
}, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const start = async (env: Record<string, string>) => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log(1)'], {
      env: { PATH: process.env.PATH, ...env },
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    return child.pid;
  };
  const app = await start({ PM2_HOME: home, pm_id: '2' });
  const shell = await start({ PM2_HOME: home });
  const stranger = await start({ PM2_HOME: `${home}-2`, pm_id: '2' });
  // A group that nobody is in.
  const living = livingOf({ home, group: 2 ** 30 });
  assert.deepEqual(
    [app, shell, stranger].map((pid) => living.includes(pid ?? 0)),
    [true, false, false],
  );
});
