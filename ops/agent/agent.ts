// One node's agent: settings → roster and tally → paths → listen → look after the workers → close.
// Its death ejects nobody, and its next life finds the workers where they were.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { LoadedSettings } from '../../config/load.ts';
import { pm2HomeOf } from '../apps.ts';
import { usableSlots } from '../process/devices.ts';
import type { Running } from '../process/lifecycle.ts';
import type { Log } from '../process/log.ts';
import { agentMetrics } from '../process/metrics.ts';
import { RELEASE } from '../process/package.ts';
import { Tally } from './aggregate.ts';
import { createAgentApp } from './app.ts';
import { createAsk } from './ask.ts';
import { BalancerLoads } from './balancer-load.ts';
import { startChores } from './chores.ts';
import { createDoctor } from './doctor.ts';
import { Drain } from './drain.ts';
import { recall, remember } from './memory.ts';
import { pm2Workers } from './pm2-workers.ts';
import { type NodeIdentity, Roster } from './roster.ts';
import { Scaler } from './scaler.ts';
import { Watch } from './watch.ts';
import { WorkerCpu } from './worker-cpu.ts';

/** A balancer that has not asked for so long, or for three of its own intervals, is not waited for. */
const WINDOW_MS = 3_000;
/** CPU time is looked at every second, and two looks may be a little more than that apart. */
const SHORTEST_CPU_MS = 3_000;
/** How long a leaving agent stays for workers that are leaving too and still want to be seen. */
const LAST_ONE_OUT_MS = 10_000;
/** Signals to agent and workers come together; the workers need a moment to say that they are leaving. */
const GATHERING_MS = 250;

/** Starts an agent; it answers once it knows again who works here. */
export async function startAgent(
  settings: LoadedSettings,
  log: Log,
): Promise<Running & { readonly address: AddressInfo }> {
  const node: NodeIdentity = {
    node: settings.node.name,
    zone: settings.node.zone,
    release: RELEASE,
    preemptible: settings.node.preemptible,
  };
  const path = join(settings.data_dir, 'agent.json');
  const memory = recall(path, process.ppid);
  const windowMs = Math.max(WINDOW_MS, 3 * settings.balancer.check_interval);
  const roster = new Roster(Date.now(), windowMs);
  const drain = new Drain(join(settings.data_dir, 'drain.json'));
  roster.drain(drain.wanted);
  const tally = new Tally(memory?.dead);
  const ask = createAsk(settings.node.key);
  const metrics = agentMetrics();
  metrics.info.set({ node: node.node, zone: node.zone, release: node.release }, 1);
  const changed = () =>
    remember(path, {
      parent: process.ppid,
      workers: roster.reports().map(({ id, url }) => ({ id, url })),
      dead: tally.dead(),
    });

  // Before it answers anybody: a roster that is missing workers would have balancers forget them.
  for (const probe of await Promise.all((memory?.workers ?? []).map(ask.report)))
    if (probe.kind === 'answered') roster.announce(probe.report, Date.now());

  const kept = { dataDir: settings.data_dir, maxMemory: settings.worker.max_memory };
  const { scale } = settings.worker;
  const cpu = new WorkerCpu(Math.max(SHORTEST_CPU_MS, scale.interval));
  const loads = new BalancerLoads(windowMs);
  const home = pm2HomeOf(settings);
  const scaler = new Scaler({
    settings: settings.worker,
    dataDir: settings.data_dir,
    home,
    cores: usableSlots(settings),
    roster,
    cpu,
    loads,
    pm2: pm2Workers(home),
    metrics,
    log,
    now: Date.now,
  });
  const watch = new Watch({ roster, tally, ask, cpu, metrics, log, changed, ...kept });
  const server = createServer(
    {
      requestTimeout: 10_000,
      headersTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 30_000,
    },
    createAgentApp({
      roster,
      loads,
      scaler,
      tally,
      ask,
      cpu,
      metrics,
      log,
      changed,
      ...kept,
      watch,
      drain,
      node,
      key: settings.node.key,
      logFolder: join(settings.data_dir, 'pm2/logs'),
      doctor: createDoctor(settings.source),
    }),
  );
  const { host, port } = settings.agent;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  await watch.start();
  scaler.start();
  const stopChores = startChores({
    home,
    limitBytes: settings.logs.turn_at,
    configFile: settings.source,
    log,
  });
  log.info({ address: server.address() }, 'listening');

  return {
    address: server.address() as AddressInfo,
    close: [
      { name: 'workers that are leaving', run: () => lastOneOut(roster) },
      { name: 'scaling', run: () => scaler.stop() },
      { name: 'chores', run: stopChores },
      { name: 'watch', run: () => watch.stop() },
      {
        name: 'server',
        run: () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      },
    ],
  };
}

async function lastOneOut(roster: Roster): Promise<void> {
  const until = Date.now() + LAST_ONE_OUT_MS;
  await wait(GATHERING_MS);
  while (Date.now() < until && roster.reports().some(({ state }) => state === 'draining')) await wait(50);
}
