// A whole VM is lost under traffic: once by the death of everything on it, once by its network. Nothing that was accepted may
// be lost while the other one lives, and it comes back by itself.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test, { type TestContext } from 'node:test';
import { statusSchema } from '../../config/admin.ts';
import { type Lan, makeLan } from '../process/namespaces.ts';
import { type Traffic, traffic } from './clients.ts';
import { type Cluster, type StartHow, site, startCluster, toonfleet, until } from './cluster.ts';

const ONE = { TOONFLEET_WORKER__COUNT: '1' };
const TOKEN = { TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test' };
const OTHER = 'test-node-2';
/** Promised are 2 s and 3 s; a test machine may be slow, and how long it took is told. */
const EJECTED_WITHIN_MS = 10_000;
const BACK_WITHIN_MS = 20_000;
/** What the unit lets pass before it starts again what died (RestartSec). */
const RESTART_PAUSE_MS = 2_000;
const FULL_WITHIN_MS = 30_000;

/** How many workers of the other node pictures can go to. */
async function usable(cluster: Cluster): Promise<number> {
  const { code, output } = await toonfleet(cluster, 'status', '--json');
  assert.equal(code, 0, output);
  const { upstreams } = statusSchema.parse(JSON.parse(output));
  return upstreams.filter(({ node, state }) => node === OTHER && state === 'up').length;
}

/** Waits for a number of usable workers; how long that took, ms. */
async function untilUsable(cluster: Cluster, wanted: number, withinMs: number): Promise<number> {
  const from = performance.now();
  await until(
    async () => (await usable(cluster)) === wanted,
    withinMs,
    () => `the other node has ${wanted} usable workers`,
  );
  return performance.now() - from;
}

/** A balancer with a node of its own, another node that has joined it, and clients that both draw for. */
async function fleetUnderTraffic(context: TestContext, host?: string, through: StartHow['through'] = []) {
  const cluster = await startCluster(await site(context, { ...TOKEN, ...ONE }));
  const place = await site(context, { ...ONE, TOONFLEET_NODE__NAME: OTHER }, host);
  const how: StartHow = { args: ['--role', 'node'], through };
  const other = await startCluster(place, how);
  const { code, output } = await toonfleet(cluster, 'node', 'add', OTHER, other.agentUrl);
  assert.equal(code, 0, output);
  await untilUsable(cluster, 1, BACK_WITHIN_MS);
  const load = await traffic(cluster.url, { kept: 4, fresh: 2 });
  await drawn(load, 100);
  return { cluster, place, how, other, load };
}

const drawn = (load: Traffic, more: number) => {
  const from = load.answered();
  return until(
    () => load.answered() >= from + more,
    60_000,
    () => `${more} more pictures; failed: ${load.failures.join('; ')}`,
  );
};

async function ends(context: TestContext, load: Traffic, outMs: number, backMs: number): Promise<void> {
  await drawn(load, 50);
  await load.end();
  context.diagnostic(
    `${load.failures.length} failed of ${load.answered() + load.failures.length}; out after ${Math.round(outMs)} ms, back ${Math.round(backMs)} ms after it could be`,
  );
  assert.deepEqual(load.failures, []);
}

test('a VM whose agent, PM2 and workers are killed at once costs no picture, and comes back', async (context) => {
  const { cluster, place, how, other, load } = await fleetUnderTraffic(context);
  load.silence();
  for (const pid of other.pids()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with another one.
    }
  }
  const outMs = await untilUsable(cluster, 0, EJECTED_WITHIN_MS);
  await drawn(load, 50);
  const silentMs = load.silence();
  const { readyMs } = await startCluster(place, how);
  const backMs = await untilUsable(cluster, 1, BACK_WITHIN_MS);
  const fullMs = RESTART_PAUSE_MS + readyMs + backMs;
  context.diagnostic(
    `at most ${Math.round(silentMs)} ms without a good answer; at full capacity after ${Math.round(fullMs)} ms, started after ${RESTART_PAUSE_MS}`,
  );
  assert.ok(silentMs < EJECTED_WITHIN_MS && fullMs < FULL_WITHIN_MS);
  await ends(context, load, outMs, backMs);
});

const alone = process.getuid?.() !== 0 && 'network namespaces need root';

test('a VM whose network goes down costs no picture, and comes back', { skip: alone }, async (context) => {
  let lan: Lan;
  try {
    lan = makeLan(1, 200 + (process.pid % 50));
  } catch (error) {
    context.skip(`no network namespace can be made here: ${(error as Error).message}`);
    return;
  }
  context.after(() => lan.remove());
  const [space] = lan.nodes;
  assert.ok(space);
  const { cluster, load } = await fleetUnderTraffic(context, space.address, space.enter);
  const link = (state: 'up' | 'down') =>
    execFileSync('ip', ['-n', space.name, 'link', 'set', 'eth0', state], { stdio: 'ignore' });
  link('down');
  const outMs = await untilUsable(cluster, 0, EJECTED_WITHIN_MS);
  await drawn(load, 50);
  link('up');
  const backMs = await untilUsable(cluster, 1, BACK_WITHIN_MS);
  await ends(context, load, outMs, backMs);
});
