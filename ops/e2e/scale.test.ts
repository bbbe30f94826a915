// A VM gets the workers that its load needs, under traffic, and no request notices. Real processes under PM2.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { nodeScaleSchema } from '../../config/contract.ts';
import { changeUnderWay } from '../process/change-lock.ts';
import { pictureMaker, post, traffic, underTraffic } from './clients.ts';
import { type Cluster, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';

const TOKEN = { TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test' };

/** Workers as the agent tells them, once there are so many and nobody is on the way. */
async function untilSettled(cluster: Cluster, count: number): Promise<number> {
  const began = performance.now();
  let roster = await cluster.roster();
  await until(
    async () => {
      roster = await cluster.roster();
      return roster.workers.length === count && roster.workers.every(({ state }) => state === 'ready');
    },
    90_000,
    () => `${count} workers: ${JSON.stringify(roster)}\n${cluster.output()}`,
  );
  return performance.now() - began;
}

/** Now and then a picture, as in a quiet hour. */
async function quietly(url: string, act: () => Promise<unknown>) {
  const make = await pictureMaker();
  const agent = new Agent({ keepAlive: true });
  const failures: string[] = [];
  let over = false;
  let sent = 0;
  const client = (async () => {
    while (!over) {
      const outcome = await post(url, make(0x20000000 + sent++), agent);
      if (outcome !== undefined) failures.push(outcome);
      await wait(250);
    }
  })();
  try {
    await act();
  } finally {
    over = true;
    await client;
    agent.destroy();
  }
  return { sent, failures };
}

test('under load one worker becomes two, and in quiet one again, without a lost request', async (context) => {
  const cluster = await startCluster(
    await site(context, {
      ...TOKEN,
      TOONFLEET_WORKER__COUNT: '1',
      TOONFLEET_WORKER__SCALE__ENABLED: 'true',
      TOONFLEET_WORKER__SCALE__MAX: '2',
      TOONFLEET_WORKER__SCALE__INTERVAL: '2s',
      TOONFLEET_WORKER__SCALE__DOWN_AFTER: '6s',
      // Other tests may have most of the machine; a worker under load has this much of a core all the same.
      TOONFLEET_WORKER__SCALE__CPU: '20',
      TOONFLEET_WORKER__DRAIN_GRACE: '1s',
    }),
  );
  await untilWorkers(cluster, 1);
  let up = 0;
  const busy = await underTraffic(cluster.url, { kept: 3, fresh: 2, side: 256 }, async () => {
    up = await untilSettled(cluster, 2);
    await untilWorkers(cluster, 2);
    const status = await toonfleet(cluster, 'status');
    assert.match(status.output, /^test-node: 2 workers \(auto, 1 to 2\): /m);
  });
  let down = 0;
  const quiet = await quietly(cluster.url, async () => {
    down = await untilSettled(cluster, 1);
  });
  context.diagnostic(
    `1 → 2 in ${(up / 1000).toFixed(1)} s, 2 → 1 in ${(down / 1000).toFixed(1)} s; ${busy.failures.length + quiet.failures.length} failed of ${busy.answered() + quiet.sent}`,
  );
  assert.deepEqual([...busy.failures, ...quiet.failures], []);
  assert.ok(busy.answered() > 20, `${busy.answered()} pictures`);
  // PM2's command ends a moment after the worker has gone.
  const counted = /^toonfleet_scale_changes_total\{direction="down",result="done"\} 1$/m;
  let metrics = '';
  await until(
    async () => {
      metrics = await (await fetch(`${cluster.agentUrl}/metrics`)).text();
      return counted.test(metrics);
    },
    30_000,
    () => metrics.replaceAll(/^(?!toonfleet_scale).*\n/gm, ''),
  );
});

test('an operator scales under traffic, and a reload and a scaling wait for each other', async (context) => {
  const cluster = await startCluster(
    await site(context, {
      ...TOKEN,
      TOONFLEET_WORKER__SCALE__MAX: '3',
      TOONFLEET_WORKER__SCALE__INTERVAL: '1s',
      TOONFLEET_WORKER__DRAIN_GRACE: '1s',
    }),
  );
  await untilWorkers(cluster, 2);
  const load = await traffic(cluster.url, { kept: 3, fresh: 2 });
  try {
    const refused = await toonfleet(cluster, 'scale', '9');
    assert.equal(refused.code, 1);
    assert.match(refused.output, /9 workers are more than this node may have \(worker\.scale\.max: 3\)/);
    const more = await toonfleet(cluster, 'scale', '3', '--node', 'test-node');
    assert.equal(more.code, 0, more.output);
    await untilSettled(cluster, 3);
    const less = await toonfleet(cluster, 'scale', '1');
    assert.equal(less.code, 0, less.output);
    await until(
      () => changeUnderWay(cluster.home) !== undefined,
      30_000,
      () => 'the scaling has begun',
    );
    const reload = await toonfleet(cluster, 'reload', 'worker');
    assert.equal(reload.code, 0, reload.output);
    assert.match(reload.output, /^waiting: scaling from 3 to 1 workers is under way/m);
    assert.match(reload.output, /^1 of 1 workers are new and ready$/m);
  } finally {
    await load.end();
  }
  context.diagnostic(`${load.failures.length} failed of ${load.answered() + load.failures.length}`);
  assert.deepEqual(load.failures, []);
  const shown = await toonfleet(cluster, 'scale', '--json');
  const scale = nodeScaleSchema.parse(JSON.parse(shown.output));
  assert.deepEqual([scale.mode, scale.current, scale.desired], ['fixed', 1, 1]);
});
