// Clients on a node's shared port and clients of the balancer load the same workers at the same time.

import assert from 'node:assert/strict';
import test from 'node:test';
import { site, startCluster, untilWorkers } from './cluster.ts';
import { form, photo } from './pictures.ts';

test('clients of the shared port and of the balancer both advance, and nothing waits in front of idle slots', async (context) => {
  const at = await site(context, { TOONFLEET_WORKER__COUNT: '1' });
  const cluster = await startCluster(at);
  await untilWorkers(cluster, 1);
  const each = 8;
  const drawn = { shared: 0, balancer: 0 };
  const done = () => drawn.shared >= each && drawn.balancer >= each;
  const client = async (through: keyof typeof drawn, url: string, seed: number) => {
    for (let n = 0; !done(); n++) {
      const answer = await fetch(`${url}/transform`, {
        method: 'POST',
        body: form({ file: await photo(seed + n, 96, 96) }),
      });
      await answer.arrayBuffer();
      assert.equal(answer.status, 200, through);
      drawn[through] += 1;
    }
  };
  await Promise.all([
    ...[1000, 2000, 3000].map((seed) => client('shared', cluster.sharedUrl, seed)),
    ...[4000, 5000, 6000].map((seed) => client('balancer', cluster.url, seed)),
  ]);
  context.diagnostic(`${drawn.shared} through the shared port, ${drawn.balancer} through the balancer`);
  const [fewer, more] = [drawn.shared, drawn.balancer].sort((a, b) => a - b);
  assert.ok((more ?? 0) <= 8 * (fewer ?? 0), JSON.stringify(drawn));
  const metrics = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
  assert.match(metrics, /^toonfleet_queue_length\{class="interactive"\} 0$/m);
});
