import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { nodeRosterSchema, type WorkerReport, type WorkerState } from '../../config/contract.ts';
import { type LoadedSettings, loadSettings } from '../../config/load.ts';
import { closeInOrder } from '../process/lifecycle.ts';
import { SILENT } from '../process/log.ts';
import { workerMetrics } from '../process/metrics.ts';
import { startAgent } from './agent.ts';

const KEY = 'a key that nodes share';

function settingsFor(context: TestContext, env: Record<string, string> = {}): LoadedSettings {
  const cwd = mkdtempSync(join(tmpdir(), 'agent-'));
  context.after(() => rmSync(cwd, { recursive: true, force: true }));
  return loadSettings({ env: { TOONFLEET_AGENT__PORT: '0', TOONFLEET_NODE__NAME: 'vm-1', ...env }, cwd });
}

/** An agent on a free port; `call` speaks to it. */
async function agentFor(context: TestContext, settings: LoadedSettings) {
  const agent = await startAgent(settings, SILENT);
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeInOrder(agent.close, SILENT, 'test');
    return closing;
  };
  context.after(close);
  const base = `http://127.0.0.1:${agent.address.port}`;
  const call = (path: string, init: RequestInit = {}) =>
    fetch(base + path, { ...init, signal: AbortSignal.timeout(5_000) });
  return { call, close };
}

/** A worker as its agent sees it: a report and a registry behind HTTP. */
async function workerFor(context: TestContext, id: string, pid = process.pid) {
  const metrics = workerMetrics();
  const server: Server = createServer(async (request, response) => {
    const body =
      request.url === '/internal/worker' ? worker.report() : await metrics.registry.getMetricsAsJSON();
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const worker = {
    metrics,
    state: 'ready' as WorkerState,
    report: (): WorkerReport => ({
      id,
      pid,
      url: `http://127.0.0.1:${port}`,
      slots: 1,
      state: worker.state,
      models: ['meadow'],
      busy: 0,
      ms_per_megapixel: null,
      rss_bytes: 1000,
      event_loop_lag_ms: 2,
    }),
    die: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  context.after(worker.die);
  return worker;
}

type Call = Awaited<ReturnType<typeof agentFor>>['call'];
type Worker = Awaited<ReturnType<typeof workerFor>>;

const announce = async (call: Call, worker: Worker, headers: Record<string, string> = {}) => {
  const response = await call('/v1/node/workers', {
    method: 'PUT',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(worker.report()),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as { seen: boolean };
};
const rosterOf = async (call: Call, headers: Record<string, string> = {}) =>
  nodeRosterSchema.parse(await (await call('/v1/node', { headers })).json());
const pictures = (text: string) => Number(/^toonfleet_worker_requests_total\{.*\} (\d+)$/m.exec(text)?.[1]);

test('workers that announce themselves stand on the roster until they say goodbye', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  const worker = await workerFor(context, 'w1');
  await announce(call, worker);
  const roster = await rosterOf(call);
  assert.equal(roster.node, 'vm-1');
  assert.deepEqual(
    roster.workers.map(({ id, state }) => [id, state]),
    [['w1', 'ready']],
  );
  const goodbye = await call('/v1/node/workers', { method: 'DELETE', body: JSON.stringify({ id: 'w1' }) });
  assert.equal(goodbye.status, 204);
  assert.deepEqual((await rosterOf(call)).workers, []);
});

test('a worker hears that its new state was seen only after each balancer has asked', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  const worker = await workerFor(context, 'w1');
  await rosterOf(call, { 'x-balancer': 'front' });
  assert.deepEqual(await announce(call, worker), { seen: false });
  await rosterOf(call);
  assert.deepEqual(await announce(call, worker), { seen: false }, 'a person with curl is no balancer');
  await rosterOf(call, { 'x-balancer': 'front' });
  assert.deepEqual(await announce(call, worker), { seen: true });
});

test('a worker that stops beating and refuses connections leaves the roster', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  const worker = await workerFor(context, 'w1');
  const quiet = await workerFor(context, 'w2');
  await announce(call, worker);
  await announce(call, quiet);
  await worker.die();
  let workers: string[];
  do {
    workers = (await rosterOf(call)).workers.map(({ id }) => id);
  } while (workers.includes('w1'));
  assert.deepEqual(workers, ['w2'], 'one that beats no more but answers is kept');
});

test('the node counts what its workers count, and a dead one stays counted', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  const first = await workerFor(context, 'w1');
  const second = await workerFor(context, 'w2');
  first.metrics.requests.inc({ route: '/transform', status: '200' }, 5);
  second.metrics.requests.inc({ route: '/transform', status: '200' }, 2);
  await announce(call, first);
  await announce(call, second);
  const text = await (await call('/metrics')).text();
  assert.equal(pictures(text), 7);
  assert.match(text, /^process_resident_memory_bytes\{worker="w1"\} 1000$/m);
  assert.match(text, /^toonfleet_workers\{state="ready"\} 2$/m);
  assert.match(text, /^toonfleet_node_cpu_seconds_total\{mode="busy"\} /m);

  first.metrics.requests.inc({ route: '/transform', status: '200' }, 1);
  await call('/v1/node/workers?id=w1', { method: 'DELETE' });
  await first.die();
  const after = await (await call('/metrics')).text();
  assert.equal(pictures(after), 8, 'with what it counted last');
  assert.doesNotMatch(after, /worker="w1"/);
});

test('a worker that dies without a goodbye counts as a crash, one that says goodbye does not', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  const [polite, crashing] = [await workerFor(context, 'w1'), await workerFor(context, 'w2')];
  const crashes = async () =>
    /^toonfleet_worker_crashes_total (\d+)$/m.exec(await (await call('/metrics')).text())?.[1];
  await announce(call, polite);
  await announce(call, crashing);
  await call('/v1/node/workers', { method: 'DELETE', body: JSON.stringify({ id: 'w1' }) });
  await polite.die();
  assert.equal(await crashes(), '0');
  await crashing.die();
  while ((await rosterOf(call)).workers.length > 0);
  assert.equal(await crashes(), '1');
});

test('disk, the limit of a worker and the last backup are told; without a backup nothing is', async (context) => {
  const settings = settingsFor(context, { TOONFLEET_WORKER__MAX_MEMORY: '1GiB' });
  const { call } = await agentFor(context, settings);
  await announce(call, await workerFor(context, 'w1'));
  const metric = async (name: string) =>
    new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await call('/metrics')).text())?.[1];
  const free = Number(await metric('toonfleet_node_disk_bytes{kind="free"}'));
  const total = Number(await metric('toonfleet_node_disk_bytes{kind="total"}'));
  assert.ok(free > 0 && free <= total, `${free} of ${total}`);
  assert.equal(await metric('toonfleet_worker_memory_limit_bytes{worker="w1"}'), String(1024 ** 3));

  const backup = () => metric('toonfleet_backup_last_success_timestamp_seconds');
  assert.equal(await backup(), undefined);
  const folder = join(settings.data_dir, 'backup');
  mkdirSync(folder, { recursive: true });
  const status = { last_success: '2026-01-02T03:04:05.000Z', bytes: 1, seconds: 2 };
  writeFileSync(join(folder, 'status.json'), JSON.stringify(status));
  assert.equal(await backup(), String(Date.UTC(2026, 0, 2, 3, 4, 5) / 1000));
  writeFileSync(join(folder, 'status.json'), '{"last_success": "yest');
  assert.equal(await backup(), '0', 'a backup that nobody knows of is as good as none');
});

test('the short summary comes as JSON or as Prometheus text', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  await announce(call, await workerFor(context, 'w1'));
  const json = (await (
    await call('/internal/stats', { headers: { accept: 'application/json' } })
  ).json()) as Record<string, unknown>;
  assert.equal(json.node, 'vm-1');
  assert.equal(json.ready, 1);
  assert.match(await (await call('/internal/stats')).text(), /^toonfleet_stats_slots\{node="vm-1"\} 1$/m);
});

test('an agent that is restarted finds its workers and goes on counting', async (context) => {
  const settings = settingsFor(context);
  const dead = await workerFor(context, 'w1');
  const alive = await workerFor(context, 'w2');
  dead.metrics.requests.inc({ route: '/transform', status: '200' }, 5);
  alive.metrics.requests.inc({ route: '/transform', status: '200' }, 2);
  const before = await agentFor(context, settings);
  await announce(before.call, dead);
  await announce(before.call, alive);
  await before.call('/metrics');
  await before.call('/v1/node/workers?id=w1', { method: 'DELETE' });
  await before.close();

  const after = await agentFor(context, settings);
  assert.deepEqual(
    (await rosterOf(after.call)).workers.map(({ id }) => id),
    ['w2'],
    'before it was announced again',
  );
  assert.equal(pictures(await (await after.call('/metrics')).text()), 7);
});

test('with a node key only those who carry it are served, but health and metrics are open', async (context) => {
  const { call } = await agentFor(context, settingsFor(context, { TOONFLEET_NODE__KEY: KEY }));
  for (const headers of [{}, { 'x-node-key': 'another key of that length' }, { 'x-node-key': '' }])
    assert.equal((await call('/v1/node', { headers })).status, 401);
  assert.equal((await call('/v1/node/workers', { method: 'PUT', body: '{}' })).status, 401);
  assert.equal((await call('/v1/node', { headers: { 'x-node-key': KEY } })).status, 200);
  for (const path of ['/live', '/metrics', '/internal/stats'])
    assert.equal((await call(path)).status, 200, path);
});

const refusals: { name: string; path: string; init?: RequestInit; status: number; code: string }[] = [
  { name: 'a path that is not there', path: '/nothing', status: 404, code: 'not_found' },
  {
    name: 'a method that is not taken',
    path: '/v1/node',
    init: { method: 'POST' },
    status: 405,
    code: 'method_not_allowed',
  },
  {
    name: 'an announcement that is not JSON',
    path: '/v1/node/workers',
    init: { method: 'PUT', body: 'hello' },
    status: 400,
    code: 'bad_request',
  },
  {
    name: 'an announcement with a hole',
    path: '/v1/node/workers',
    init: { method: 'PUT', body: '{"id":"w1"}' },
    status: 400,
    code: 'bad_request',
  },
  {
    name: 'an announcement without end',
    path: '/v1/node/workers',
    init: { method: 'PUT', body: 'x'.repeat(70_000) },
    status: 413,
    code: 'upload_too_large',
  },
];
test('what it does not understand it refuses in the shape of the path, and goes on', async (context) => {
  const { call } = await agentFor(context, settingsFor(context));
  for (const { name, path, init, status, code } of refusals) {
    const response = await call(path, init);
    assert.equal(response.status, status, name);
    assert.equal(((await response.json()) as { code: string }).code, code, name);
  }
  assert.equal((await call('/live')).status, 200);
});

test('a drain is shown to every balancer, and a restarted agent still knows of it', async (context) => {
  const settings = settingsFor(context);
  const first = await agentFor(context, settings);
  const worker = await workerFor(context, 'w1');
  await announce(first.call, worker);
  await rosterOf(first.call, { 'x-balancer': 'front' });
  const drain = async (call: Call, method = 'GET') =>
    (await (await call('/v1/node/drain', { method })).json()) as object;
  assert.deepEqual(await drain(first.call, 'PUT'), { draining: true, seen: false, busy: 0 });
  assert.equal((await rosterOf(first.call, { 'x-balancer': 'front' })).draining, true);
  assert.deepEqual(await drain(first.call), { draining: true, seen: true, busy: 0 });
  await first.close();
  const second = await agentFor(context, settings);
  assert.equal((await rosterOf(second.call)).draining, true);
  assert.deepEqual(await drain(second.call, 'DELETE'), { draining: false, seen: false, busy: 0 });
  assert.equal((await rosterOf(second.call)).draining, false);
  await second.close();
  const third = await agentFor(context, settings);
  assert.equal((await rosterOf(third.call)).draining, false);
});

test('a broken drain file stops the agent with a sentence instead of putting the node back to work', async (context) => {
  const settings = settingsFor(context);
  mkdirSync(settings.data_dir, { recursive: true });
  writeFileSync(join(settings.data_dir, 'drain.json'), '{"draining": tr');
  await assert.rejects(startAgent(settings, SILENT), /drain\.json .* is broken: it is not JSON/);
});

test('with a node key only who has it may drain', async (context) => {
  const { call } = await agentFor(context, settingsFor(context, { TOONFLEET_NODE__KEY: KEY }));
  assert.equal((await call('/v1/node/drain', { method: 'PUT' })).status, 401);
  assert.equal((await rosterOf(call, { 'x-node-key': KEY })).draining, false);
});

test('an operator asks the agent for a number of workers, and it tells what it makes of that', async (context) => {
  const { call } = await agentFor(context, settingsFor(context, { TOONFLEET_NODE__KEY: KEY }));
  const put = (workers: unknown, headers: Record<string, string> = { 'x-node-key': KEY }) =>
    call('/v1/node/scale', { method: 'PUT', headers, body: JSON.stringify({ workers }) });
  assert.equal((await put(2, {})).status, 401);
  for (const wrong of [0, 1.5, 'many', null]) assert.equal((await put(wrong)).status, 400, String(wrong));
  assert.equal((await put(256)).status, 409);
  const told = (await (await put(1)).json()) as { mode: string; desired: number };
  assert.deepEqual([told.mode, told.desired], ['fixed', 1]);
  const roster = await rosterOf(call, { 'x-node-key': KEY });
  assert.match(roster.scale?.reason ?? '', /^an operator has said 1/);
  const back = (await (await put('auto')).json()) as { mode: string };
  assert.equal(back.mode, 'off');
});

test('what balancers tell with their question is a signal, and rubbish is none', async (context) => {
  const { call } = await agentFor(
    context,
    settingsFor(context, { TOONFLEET_WORKER__SCALE__ENABLED: 'true' }),
  );
  await rosterOf(call, { 'x-balancer': 'front', 'x-load': 'queue=many' });
  const { scale } = await rosterOf(call, {
    'x-balancer': 'front',
    'x-load': 'queue=1; mean=2; p95=3; wait=4',
  });
  assert.equal(scale?.mode, 'auto');
});
