// New processes take over from old ones under traffic, and no request notices.

import assert from 'node:assert/strict';
import test from 'node:test';
import { underTraffic } from './clients.ts';
import { type Cluster, site, startCluster, toonfleet, untilWorkers } from './cluster.ts';

async function reloadUnderTraffic(cluster: Cluster, target: string, times: number) {
  return underTraffic(cluster.url, { kept: 4, fresh: 2 }, async () => {
    for (let round = 0; round < times; round++) {
      const { code, output } = await toonfleet(cluster, 'reload', target);
      assert.equal(code, 0, output);
      assert.match(output, /PM2_HOME=.* reload \w+ --parallel 1/, 'what an operator could type himself');
    }
  });
}

test('a reload loses no request', async (context) => {
  const cluster = await startCluster(await site(context));
  const before = new Set((await untilWorkers(cluster, 2)).map(({ pid }) => pid));

  await context.test('of the workers, twice', async () => {
    const load = await reloadUnderTraffic(cluster, 'worker', 2);
    context.diagnostic(
      `workers: ${load.failures.length} failed of ${load.answered() + load.failures.length}`,
    );
    assert.deepEqual(load.failures, []);
    assert.ok(load.answered() > 200, `${load.answered()} pictures`);
    await untilWorkers(cluster, 2, (pid) => !before.has(pid));
  });

  await context.test('of the balancer', async () => {
    const load = await reloadUnderTraffic(cluster, '--balancer', 5);
    context.diagnostic(
      `balancer: ${load.failures.length} failed of ${load.answered() + load.failures.length}`,
    );
    assert.deepEqual(load.failures, []);
    assert.ok(load.answered() > 200, `${load.answered()} pictures`);
  });

  await context.test('of everything', async () => {
    const load = await reloadUnderTraffic(cluster, '--all', 1);
    context.diagnostic(`all: ${load.failures.length} failed of ${load.answered() + load.failures.length}`);
    assert.deepEqual(load.failures, []);
  });
});
