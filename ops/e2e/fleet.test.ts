// What operators do to a running fleet: drain, pause, two balancers at once; real processes under PM2, real pictures.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';
import { statusSchema } from '../../config/admin.ts';
import { runPm2 } from '../pm2.ts';
import { pictureMaker, post, traffic } from './clients.ts';
import { type Cluster, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';

const TOKEN = { TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test' };

async function statusOf(cluster: Cluster) {
  const { code, output } = await toonfleet(cluster, 'status', '--json');
  assert.equal(code, 0, output);
  return statusSchema.parse(JSON.parse(output));
}

test('a node is drained by its agent, and neither a new agent nor a new balancer forgets it', async (context) => {
  const cluster = await startCluster(
    await site(context, { ...TOKEN, TOONFLEET_BALANCER__MIN_AVAILABLE: '0' }),
  );
  await untilWorkers(cluster, 2);
  const make = await pictureMaker();
  const agent = new Agent();
  const table = await toonfleet(cluster, 'status');
  assert.match(table.output, /^test-node +in service +0\/2 /m);

  const drained = await toonfleet(cluster, 'drain', 'test-node');
  assert.deepEqual(drained, {
    code: 0,
    output: 'test-node is drained: nothing runs there, and every balancer knows\n',
  });
  assert.match((await post(cluster.url, make(1), agent)) ?? '', /^503 .*no_upstream/);

  const before = (await cluster.roster()).workers.length;
  assert.equal(await runPm2(cluster.home, ['restart', 'agent']), 0);
  const reloaded = await toonfleet(cluster, 'reload', '--balancer');
  assert.equal(reloaded.code, 0, reloaded.output);
  await until(
    async () => (await cluster.roster()).workers.length === before,
    10_000,
    () => 'the new agent knows its workers',
  );
  const [node] = (await statusOf(cluster)).nodes;
  assert.equal(node?.draining, true);
  assert.match((await post(cluster.url, make(2), agent)) ?? '', /^503 /);

  const back = await toonfleet(cluster, 'undrain', 'test-node');
  assert.deepEqual(back, { code: 0, output: 'test-node works again\n' });
  assert.equal(await post(cluster.url, make(3), agent), undefined);
});

test('a fleet of one node keeps it, and a state that cannot be read is told before anything is reloaded', async (context) => {
  const cluster = await startCluster(await site(context, TOKEN));
  await untilWorkers(cluster, 2);
  const refused = await toonfleet(cluster, 'drain', 'test-node');
  assert.equal(refused.code, 1);
  assert.match(refused.output, /would leave 0 nodes in service, and balancer.min_available is 1/);
  const unknown = await toonfleet(cluster, 'drain', 'vm-7', '--wait', '1s');
  assert.equal(unknown.code, 1);
  assert.match(unknown.output, /There is no node "vm-7"; there are: test-node/);

  const divided = await toonfleet(cluster, 'traffic', '0.1.0=100', 'next=0');
  assert.equal(divided.output, 'traffic: 0.1.0 100 %, next 0 %\n');
  const file = join(cluster.cwd, 'data/balancer-state.json');
  const good = readFileSync(file, 'utf8');
  writeFileSync(file, good.slice(0, 20));
  const reload = await toonfleet(cluster, 'reload', 'balancer');
  assert.equal(reload.code, 1);
  assert.match(reload.output, /balancer-state\.json .* is broken: .* Nothing was reloaded/);
  writeFileSync(file, good);
  assert.equal((await statusOf(cluster)).status, 'ready');
});

test('pictures that a pause holds outlive a reload of the balancer', async (context) => {
  const cluster = await startCluster(await site(context, TOKEN));
  await untilWorkers(cluster, 2);
  const make = await pictureMaker();
  const paused = await toonfleet(cluster, 'pause');
  assert.match(paused.output, /^paused; 0 pictures wait/);
  const agent = new Agent();
  const held = Array.from({ length: 6 }, (_, seed) => post(cluster.url, make(seed), agent));
  await until(
    async () => (await statusOf(cluster)).queue.interactive === held.length,
    10_000,
    () => 'all are held',
  );
  // PM2 waits for the old balancer, which waits for its pictures: the end of the pause lets both go on.
  const reload = toonfleet(cluster, 'reload', '--balancer');
  await until(
    async () => (await statusOf(cluster)).queue.interactive === 0,
    30_000,
    () => 'the new balancer has the admin port',
  );
  assert.equal((await statusOf(cluster)).paused, true, 'it knows of the pause');
  const late = post(cluster.url, make(100), agent);
  const resumed = await toonfleet(cluster, 'resume');
  assert.equal(resumed.code, 0, resumed.output);
  assert.deepEqual(await Promise.all([...held, late]), Array(held.length + 1).fill(undefined));
  const { code, output } = await reload;
  assert.equal(code, 0, output);
});

test('two balancers on one fleet: nothing fails, and who finds a slot taken keeps his place', async (context) => {
  const cluster = await startCluster(await site(context, TOKEN));
  await untilWorkers(cluster, 2);
  const other = await startCluster(
    await site(context, { ...TOKEN, TOONFLEET_NODES: JSON.stringify([{ agent: cluster.agentUrl }]) }),
    { args: ['--role', 'balancer'] },
  );
  await until(
    async () => (await fetch(`${other.url}/ready`)).ok,
    10_000,
    () => 'the second balancer knows the workers',
  );
  const loads = await Promise.all([cluster, other].map(({ url }) => traffic(url, { kept: 3, fresh: 2 })));
  await until(
    () => loads.every((load) => load.answered() >= 150 || load.failures.length > 0),
    120_000,
    () => 'each has had enough pictures',
  );
  // The one is reloaded while the other serves.
  const { code, output } = await toonfleet(other, 'reload', '--balancer');
  assert.equal(code, 0, output);
  for (const load of loads) await load.end();
  const busy = [cluster, other].map(
    ({ home }) => readFileSync(join(home, 'logs/balancer.log'), 'utf8').split('"end":"busy"').length - 1,
  );
  for (const [index, load] of loads.entries())
    context.diagnostic(
      `balancer ${index + 1}: ${load.failures.length} failed of ${load.answered() + load.failures.length}, ${busy[index]} times a slot was taken`,
    );
  for (const load of loads) assert.deepEqual(load.failures, []);
  assert.ok((busy[0] ?? 0) + (busy[1] ?? 0) > 0, 'they did get in each other’s way');
});

test('a node joins, another is drained and comes back, and the first one leaves again: nothing fails', async (context) => {
  const one = { TOONFLEET_WORKER__COUNT: '1' };
  const cluster = await startCluster(await site(context, { ...TOKEN, ...one }));
  const second = await startCluster(await site(context, { ...one, TOONFLEET_NODE__NAME: 'test-node-2' }), {
    args: ['--role', 'node'],
  });
  const load = await traffic(cluster.url, { kept: 3, fresh: 2 });
  const run = async (...words: string[]) => {
    const { code, output } = await toonfleet(cluster, ...words);
    assert.equal(code, 0, output);
    return output;
  };
  await run('node', 'add', 'test-node-2', second.agentUrl);
  await until(
    async () => (await statusOf(cluster)).nodes.every(({ available }) => available),
    20_000,
    () => 'the new node is in service',
  );
  assert.match(await run('drain', 'test-node'), /is drained/);
  const make = await pictureMaker();
  for (let seed = 0; seed < 3; seed++) {
    const response = await fetch(`${cluster.url}/v1/images`, {
      method: 'POST',
      headers: { 'content-type': 'image/png' },
      body: new Uint8Array(make(1_000_000 + seed)),
    });
    await response.arrayBuffer();
    assert.equal(response.headers.get('x-node'), 'test-node-2');
  }
  const refused = await toonfleet(cluster, 'node', 'remove', 'test-node-2');
  assert.equal(refused.code, 1);
  assert.match(refused.output, /Removing test-node-2 would leave 0 nodes in service/);
  await run('undrain', 'test-node');
  await until(
    async () => (await statusOf(cluster)).nodes.every(({ available }) => available),
    20_000,
    () => 'both are in service',
  );
  await run('node', 'remove', 'test-node-2');
  await load.end();
  context.diagnostic(`${load.failures.length} failed of ${load.answered() + load.failures.length}`);
  assert.deepEqual(load.failures, []);
  assert.deepEqual(
    (await statusOf(cluster)).nodes.map(({ id }) => id),
    ['test-node'],
  );
});
