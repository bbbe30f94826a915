// New processes take over from old ones under traffic, and no request notices.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
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

/** Asks these addresses over and over, on fresh connections; what was not 200 is a failure. */
function readers(urls: readonly string[], headers: Record<string, string>) {
  const failures: string[] = [];
  let over = false;
  let asked = 0;
  const loops = urls.map(async (url) => {
    while (!over) {
      asked += 1;
      const answer = await fetch(url, { headers: { ...headers, connection: 'close' } }).then(
        async (response) => (await response.text()) && response.status,
        (error: Error) => String(error.cause ?? error),
      );
      if (answer !== 200) failures.push(`${url}: ${answer}`);
      await wait(5);
    }
  });
  return {
    failures,
    asked: () => asked,
    end: async () => {
      over = true;
      await Promise.all(loops);
    },
  };
}

const TOKEN = 'an admin token of a test';

test('a reload loses no request', async (context) => {
  const cluster = await startCluster(await site(context, { TOONFLEET_BALANCER__ADMIN_TOKEN: TOKEN }));
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
    // The styles too, which a new balancer has to ask for first, and the admin port, which changes hands as well.
    const reading = readers([`${cluster.url}/v1/styles`, `${cluster.adminUrl}/admin/v1/status`], {
      authorization: `Bearer ${TOKEN}`,
    });
    const load = await reloadUnderTraffic(cluster, '--balancer', 5);
    await reading.end();
    context.diagnostic(`styles and admin port: ${reading.failures.length} failed of ${reading.asked()}`);
    assert.deepEqual(reading.failures, []);
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
