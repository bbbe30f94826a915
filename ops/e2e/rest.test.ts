// Workers that have drawn enough give way to new ones under traffic, one at a time, and no request notices.

import assert from 'node:assert/strict';
import test from 'node:test';
import { traffic } from './clients.ts';
import { site, startCluster, untilWorkers } from './cluster.ts';

test('workers that have drawn enough are replaced one after the other without a lost request', async (t) => {
  const env = { TOONFLEET_WORKER__MAX_REQUESTS: '40', TOONFLEET_WORKER__COUNT: '2' };
  const cluster = await startCluster(await site(t, env));
  const before = new Set((await untilWorkers(cluster, 2)).map(({ pid }) => pid));
  const load = await traffic(cluster.url, { kept: 3, fresh: 2 });
  await untilWorkers(cluster, 2, (pid) => !before.has(pid));
  await load.end();
  t.diagnostic(`${load.failures.length} failed of ${load.answered() + load.failures.length}`);
  assert.deepEqual(load.failures, []);
  assert.ok(load.answered() >= 80, `${load.answered()} pictures`);
});
