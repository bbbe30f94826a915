// Processes that are killed, and starts that cannot succeed.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { identify, isAlive } from '../pm2.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { drawingWorker, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';
import { decode, form, photo } from './pictures.ts';

/** Asks for a path; undefined when there is no answer, or none in time. */
const get = (url: string) => fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
const transform = (url: string, picture: Buffer) =>
  fetch(`${url}/transform`, {
    method: 'POST',
    body: form({ file: picture }),
    signal: AbortSignal.timeout(30_000),
  });

test('a cluster outlives its processes', async (context) => {
  const cluster = await startCluster(await site(context), { args: ['--verbose'] });

  await context.test('a worker that is killed while it draws costs no picture', async () => {
    const picture = await photo(7, 1024, 1024);
    const workers = await untilWorkers(cluster, 2);
    const answer = transform(cluster.url, picture);
    const pid = await drawingWorker(workers);
    process.kill(pid, 'SIGKILL');
    assert.equal((await answer).status, 200, cluster.output());
    assert.equal((await decode(Buffer.from(await (await answer).arrayBuffer()))).width, 1024);
    const metrics = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
    assert.match(metrics, /^toonfleet_retries_total\{.*\} [1-9]/m, 'it was drawn by another worker');
    await untilWorkers(cluster, 2, (alive) => alive !== pid);
  });

  await context.test('without its agent the node goes on drawing, and the agent comes back', async () => {
    const [pid] = pidsNamed(cluster.home, 'agent');
    process.kill(Number(pid), 'SIGKILL');
    const answers = await Promise.all(
      [1, 2, 3, 4].map(async (seed) => transform(cluster.url, await photo(seed, 256, 256))),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200, 200],
    );
    await until(
      async () => (await get(`${cluster.agentUrl}/live`))?.ok ?? false,
      20_000,
      () => 'the agent stayed away',
    );
    await untilWorkers(cluster, 2);
  });

  await context.test('a balancer that is killed comes back', async () => {
    const [pid] = pidsNamed(cluster.home, 'balancer');
    process.kill(Number(pid), 'SIGKILL');
    await until(
      async () => (await get(`${cluster.url}/ready`))?.ok ?? false,
      20_000,
      () => 'the balancer stayed away',
    );
    assert.equal((await transform(cluster.url, await photo(9, 128, 128))).status, 200);
  });
});

test('a start that is killed outright leaves nothing that the next one cannot clear away', async (context) => {
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '1' });
  const first = await startCluster(at);
  const old = first.pids();
  process.kill(first.pid, 'SIGKILL');
  const second = await startCluster(at);
  assert.equal((await transform(second.url, await photo(1, 128, 128))).status, 200);
  assert.deepEqual(
    old.filter((pid) => isAlive(identify(pid))),
    [],
  );
});

test('a TERM for npm alone ends everything', async (context) => {
  const cluster = await startCluster(await site(context, { TOONFLEET_WORKER__COUNT: '1' }), {
    npm: true,
  });
  const pids = cluster.pids();
  process.kill(cluster.pid, 'SIGTERM');
  await until(() => !isAlive(identify(cluster.pid)), 30_000, cluster.output);
  assert.deepEqual(
    pids.filter((pid) => isAlive(identify(pid))),
    [],
  );
});

test('when PM2 itself is killed the start says so, and nobody is left', async (context) => {
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '1' });
  const cluster = await startCluster(at);
  const pids = cluster.pids();
  const { runtime } = JSON.parse(readFileSync(join(at.home, 'start.json'), 'utf8')) as {
    runtime: { pid: number };
  };
  process.kill(runtime.pid, 'SIGKILL');
  await until(() => /PM2 ended by itself/.test(cluster.output()), 20_000, cluster.output);
  assert.equal((await cluster.stop()).code, 1);
  assert.deepEqual(
    pids.filter((pid) => isAlive(identify(pid))),
    [],
  );
});

test('the page and the docs answer when no worker lives, and pictures are refused at once', async (context) => {
  const at = await site(context, { TOONFLEET_NODES: '[{"agent": "http://127.0.0.1:9"}]' });
  const cluster = await startCluster(at, { args: ['--role', 'balancer'] });
  for (const path of ['/', '/docs', '/openapi.json', '/live'])
    assert.equal((await fetch(cluster.url + path)).status, 200, path);
  assert.equal((await fetch(`${cluster.url}/ready`)).status, 503);
  const answer = await transform(cluster.url, await photo(1, 64, 64));
  assert.equal(answer.status, 503);
  assert.equal(((await answer.json()) as { code: string }).code, 'no_upstream');
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
});

test('a damaged model: the running workers go on, a start leaves it out, and without the default style it does not start', async (context) => {
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '1' });
  const added = await toonfleet(
    at,
    'models',
    'add',
    join(PACKAGE_ROOT, 'server/models/embedded/ink.onnx'),
    '--name',
    'mine',
    '--style',
    'mine:Mine',
    '--licence',
    'Apache-2.0',
    '--accept-licence',
  );
  assert.equal(added.code, 0, added.output);
  const cluster = await startCluster(at);
  const [before] = await untilWorkers(cluster, 1);

  const folder = join(at.cwd, 'data/models');
  const file = join(folder, readdirSync(folder).find((name) => name.endsWith('.onnx')) ?? 'none');
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(file, bytes);

  const reload = await toonfleet(at, 'reload', 'worker');
  assert.equal(reload.code, 1);
  assert.match(reload.output, /mine/);
  assert.match(reload.output, /nothing was reloaded/);
  assert.equal((await transform(cluster.url, await photo(1, 64, 64))).status, 200);
  assert.equal((await untilWorkers(cluster, 1))[0]?.pid, before?.pid);
  await cluster.stop();

  const again = await startCluster(at);
  assert.match(again.output(), /left out, while the others draw: model mine/);
  assert.equal((await transform(again.url, await photo(1, 64, 64))).status, 200);
  await again.stop();

  const start = await toonfleet(
    { ...at, env: { ...at.env, TOONFLEET_MODELS__DEFAULT_STYLE: 'mine' } },
    'start',
  );
  assert.equal(start.code, 1);
  assert.match(start.output, /A worker cannot become ready: .*mine/);
});

test('a wrong setting stops the start with its name and what is allowed', async (context) => {
  const at = await site(context, { TOONFLEET_BALANCER__DEADLINE: 'never' });
  const { code, output } = await toonfleet(at, 'start');
  assert.equal(code, 78);
  assert.match(output, /balancer\.deadline: found "never"; allowed: a duration from/);
});

const pidsNamed = (home: string, app: string) =>
  readdirSync(join(home, 'pids'))
    .filter((name) => name.startsWith(`${app}-`))
    .map((name) => readFileSync(join(home, 'pids', name), 'utf8'));
