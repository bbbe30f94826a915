// The ecosystem file, as systemd and operators use it: pm2-runtime, a role, and a link to the current release.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { INTERNAL_PATHS, nodeRosterSchema } from '../../config/contract.ts';
import { pm2Environment } from '../apps.ts';
import { identify, isAlive } from '../pm2.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { site, toonfleet, until } from './cluster.ts';

const PM2 = join(dirname(createRequire(import.meta.url).resolve('pm2/package.json')), 'bin');

test('pm2-runtime runs a node from a link to its release, and a TERM ends all of it', async (context) => {
  const at = await site(context);
  symlinkSync(PACKAGE_ROOT, join(at.cwd, 'current'));
  const env = { ...pm2Environment(at.env, at.home), TOONFLEET_ROLE: 'node' };
  const runtime = spawn(
    process.execPath,
    [join(PM2, 'pm2-runtime'), 'start', 'current/ops/ecosystem.config.cjs', '--raw'],
    { cwd: at.cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [runtime.stdout, runtime.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const closed = once(runtime, 'close');
  at.closers.push(async () => {
    if (runtime.exitCode === null && runtime.pid !== undefined) process.kill(-runtime.pid, 'SIGKILL');
  });

  let pids: number[] = [];
  await until(
    async () => {
      const answer = await fetch(at.agentUrl + INTERNAL_PATHS.node).catch(() => undefined);
      if (!answer?.ok) return false;
      const { workers } = nodeRosterSchema.parse(await answer.json());
      pids = workers.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
      return pids.length === 2;
    },
    60_000,
    () => output,
  );
  assert.doesNotMatch(output, /"role":"balancer"/, 'the role is a node');

  await context.test('its apps are named by the link, so that a reload follows it', async () => {
    const list = spawn(process.execPath, [join(PM2, 'pm2'), 'jlist'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let json = '';
    list.stdout.setEncoding('utf8').on('data', (text: string) => {
      json += text;
    });
    await once(list, 'close');
    const apps = JSON.parse(json.slice(json.indexOf('['))) as {
      name: string;
      pm2_env: { pm_exec_path: string };
    }[];
    assert.deepEqual(apps.map(({ name }) => name).sort(), ['agent', 'worker', 'worker']);
    for (const { pm2_env } of apps) assert.ok(pm2_env.pm_exec_path.startsWith(join(at.cwd, 'current/dist/')));
  });

  await context.test('toonfleet reload finds it, and toonfleet start leaves it alone', async () => {
    const reload = await toonfleet(at, 'reload');
    assert.equal(reload.code, 0, reload.output);
    assert.match(reload.output, /2 of 2 workers are new and ready/);
    const start = await toonfleet(at, 'start');
    assert.equal(start.code, 1);
    assert.match(start.output, /A PM2 runs already with the home/);
  });

  runtime.kill('SIGTERM');
  await closed;
  assert.deepEqual(
    pids.filter((pid) => isAlive(identify(pid))),
    [],
  );
});
