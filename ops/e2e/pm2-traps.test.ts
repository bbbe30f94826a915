// What PM2 does to those who take its defaults, each with the case in which it would cost pictures: it kills the old worker
// when a new one is slow (listen_timeout), kills whoever still works (kill_timeout), replaces two at once from three on,
// forgets the connection that a dying worker was handed, and lets a process live on after a rejection that nobody caught.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { pm2Environment } from '../apps.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { underTraffic } from './clients.ts';
import { site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';
import { photo } from './pictures.ts';

/** PM2's defaults: what a new process may take to get ready, and an old one to end, ms. */
const DEFAULT_LISTEN_MS = 3000;
const DEFAULT_KILL_MS = 1600;

test('three workers that start slowly are replaced one by one, and none of the old ones is killed for it', async (context) => {
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '3' });
  // While the file is there a worker does nothing for longer than PM2 waits by default.
  const slow = join(at.cwd, 'slow');
  const preload = join(at.cwd, 'preload.mjs');
  writeFileSync(
    preload,
    `import { existsSync } from 'node:fs';
if (process.env.name === 'worker' && existsSync(${JSON.stringify(slow)}))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${DEFAULT_LISTEN_MS + 1500});
`,
  );
  at.env.NODE_OPTIONS = `--import ${pathToFileURL(preload)}`;
  const cluster = await startCluster(at);
  const before = new Set((await untilWorkers(cluster, 3)).map(({ pid }) => pid));
  writeFileSync(slow, '');

  let fewest = Number.POSITIVE_INFINITY;
  let mostNew = 0;
  let over = false;
  const watching = (async () => {
    for (let newcomers = new Set<number>(); !over; await wait(50)) {
      const { workers } = await cluster.roster();
      fewest = Math.min(fewest, workers.filter(({ state }) => state === 'ready').length);
      newcomers = new Set(
        workers.filter(({ pid, state }) => state === 'loading' && !before.has(pid)).map(({ pid }) => pid),
      );
      mostNew = Math.max(mostNew, newcomers.size);
    }
  })();
  const began = performance.now();
  const load = await underTraffic(cluster.url, { kept: 2, fresh: 1 }, async () => {
    const { code, output } = await toonfleet(at, 'reload');
    assert.equal(code, 0, output);
  });
  const tookMs = performance.now() - began;
  over = true;
  await watching;
  context.diagnostic(`${load.failures.length} failed of ${load.answered()}; ${Math.round(tookMs)} ms`);
  assert.deepEqual(load.failures, []);
  assert.ok(tookMs > 3 * DEFAULT_LISTEN_MS, 'one behind the other, each as slow as that');
  assert.ok(fewest >= 3, `never fewer than three could draw: ${fewest}`);
  assert.ok(mostNew <= 1, `never two new ones at once: ${mostNew}`);
});

test('a connection that a dying worker was handed is answered by another one', async (context) => {
  const cluster = await startCluster(await site(context, { TOONFLEET_WORKER__COUNT: '2' }));
  const [first] = await untilWorkers(cluster, 2);
  assert.ok(first);
  // It hears of no connection any more, and PM2 still hands it one.
  process.kill(first.pid, 'SIGSTOP');
  const load = await underTraffic(cluster.sharedUrl, { kept: 0, fresh: 4 }, async ({ answered }) => {
    const before = answered();
    await until(
      () => answered() > before + 20,
      30_000,
      () => 'no picture comes any more',
    );
    process.kill(first.pid, 'SIGKILL');
    await untilWorkers(cluster, 2, (pid) => pid !== first.pid);
  });
  assert.deepEqual(load.failures, []);
});

test('a leaving worker finishes what it has, for longer than PM2 waits by default', async (context) => {
  const cluster = await startCluster(await site(context));
  const before = new Set((await untilWorkers(cluster, 2)).map(({ pid }) => pid));
  const picture = await photo(3, 256, 256);
  // A direct client of a node that is slow with its photo: begun before the reload, ended long after the signal.
  const request = http.request(`${cluster.sharedUrl}/v1/images`, {
    method: 'POST',
    headers: { 'content-type': 'image/jpeg', 'content-length': picture.length },
  });
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
  request.write(picture.subarray(0, 1000));
  const reload = toonfleet(cluster, 'reload');
  // The one that has the photo stays for it; the reload of the next one waits for its end.
  const leavingSince = new Map<number, number>();
  await until(
    async () => {
      const { workers } = await cluster.roster();
      const now = performance.now();
      const leaving = workers.filter(({ pid, state }) => state === 'draining' && before.has(pid));
      for (const { pid } of leaving) if (!leavingSince.has(pid)) leavingSince.set(pid, now);
      return leaving.some(({ pid }) => now - (leavingSince.get(pid) ?? now) > 3 * DEFAULT_KILL_MS);
    },
    60_000,
    () => `nobody stayed\n${cluster.output()}`,
  );
  request.end(picture.subarray(1000));
  const [answer] = await answered;
  answer.resume();
  assert.equal(answer.statusCode, 200);
  await once(answer, 'end');
  const { code, output } = await reload;
  assert.equal(code, 0, output);
});

test('a rejection that nobody catches ends a process, and PM2 starts it anew', async (context) => {
  const at = await site(context);
  const script = join(at.cwd, 'app.mjs');
  const lifecycle = pathToFileURL(join(PACKAGE_ROOT, 'dist/ops/process/lifecycle.js'));
  writeFileSync(
    script,
    `import { runProcess } from '${lifecycle}';
await runProcess('worker', async () => ({ close: [] }));
process.stdout.write('born ' + process.pid + '\\n');
setInterval(() => {}, 1000);
void Promise.reject(new Error('nobody catches this'));
`,
  );
  const apps = join(at.cwd, 'apps.json');
  const app = { name: 'app', script, exec_mode: 'cluster', instances: 1, exp_backoff_restart_delay: 100 };
  writeFileSync(apps, JSON.stringify({ apps: [app] }));
  // Compiles what the script imports.
  await toonfleet(at, 'version');
  const bin = join(dirname(createRequire(import.meta.url).resolve('pm2/package.json')), 'bin');
  const runtime = spawn(process.execPath, [join(bin, 'pm2-runtime'), 'start', apps, '--raw'], {
    cwd: at.cwd,
    env: pm2Environment(at.env, at.home),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(runtime, 'close');
  at.closers.push(async () => {
    if (runtime.exitCode === null && runtime.pid !== undefined) process.kill(-runtime.pid, 'SIGKILL');
    await closed;
  });
  let output = '';
  for (const stream of [runtime.stdout, runtime.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const born = () => new Set([...output.matchAll(/born (\d+)/g)].map(([, pid]) => pid)).size;
  await until(
    () => born() >= 2,
    30_000,
    () => output,
  );
  runtime.kill('SIGTERM');
  await closed;
});
