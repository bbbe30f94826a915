// The long form of the promise that a reload loses no request: fifty thousand pictures with bytes of their own, through the
// balancer and through nginx, over kept and fresh connections, while workers and balancer are reloaded over and over; then
// five minutes at 512 px. Takes about a quarter of an hour, so it is no part of the end-to-end tests: `npm run drill reload`.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Clients, underTraffic } from './clients.ts';
import { type Cluster, site, startCluster, toonfleet, untilWorkers } from './cluster.ts';
import { nginxBefore, skipWithoutNginx, startNodes } from './nginx.ts';

const SMALL: Clients = { kept: 6, fresh: 3 };
const BALANCER_PICTURES = 30_000;
const NGINX_PICTURES = 20_000;
const LARGE: Clients = { kept: 3, fresh: 1, side: 512 };
const LARGE_MS = 5 * 60_000;
/** Between two reloads: the new processes serve for a while. */
const PAUSE_MS = 3_000;

/** Reloads these in turn under traffic until enough has been answered, and tells how it went. */
async function drill(
  context: TestContext,
  at: { url: string; reloads: readonly (readonly [Cluster, string])[]; clients: Clients },
  enough: (answered: number) => boolean,
): Promise<void> {
  const began = performance.now();
  let reloads = 0;
  const load = await underTraffic(at.url, at.clients, async ({ answered, failures }) => {
    while (failures.length === 0 && !enough(answered())) {
      const [cluster, target] = at.reloads[reloads % at.reloads.length] ?? assert.fail('nothing to reload');
      const { code, output } = await toonfleet(cluster, 'reload', target);
      assert.equal(code, 0, output);
      reloads += 1;
      await wait(PAUSE_MS);
    }
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  const all = load.answered() + load.failures.length;
  context.diagnostic(`${load.failures.length} failed of ${all} over ${reloads} reloads in ${seconds} s`);
  assert.deepEqual(load.failures, []);
}

test('no picture is lost while workers and balancer are reloaded over and over', async (context) => {
  const cluster = await startCluster(await site(context));
  await untilWorkers(cluster, 2);
  const { url } = cluster;
  const reloads = [
    [cluster, 'worker'],
    [cluster, '--balancer'],
    [cluster, '--all'],
  ] as const;
  await context.test('small pictures through the balancer', (context) =>
    drill(context, { url, reloads, clients: SMALL }, (answered) => answered >= BALANCER_PICTURES),
  );
  await context.test('five minutes at 512 px', (context) => {
    const until = performance.now() + LARGE_MS;
    return drill(context, { url, reloads, clients: LARGE }, () => performance.now() >= until);
  });
});

test('nor through nginx, while both nodes are reloaded', { skip: skipWithoutNginx }, async (context) => {
  const [first, second] = await startNodes(context);
  await untilWorkers(first, 2);
  const { url } = await nginxBefore(context, first);
  const reloads = [
    [first, 'worker'],
    [second, 'worker'],
  ] as const;
  await drill(context, { url, reloads, clients: SMALL }, (answered) => answered >= NGINX_PICTURES);
});
