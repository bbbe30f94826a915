// Builds one balancer from its settings: the parts, and the few places where one part's news reaches another.
// Building is not listening: tests and the composition root bind the ports.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATHS, styleListSchema } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import { viewAutoscale } from '../ops/process/autoscale-file.ts';
import { lastBackup } from '../ops/process/backup-status.ts';
import type { Log } from '../ops/process/log.ts';
import { balancerMetrics } from '../ops/process/metrics.ts';
import { nodeKeyHeader } from '../ops/process/node-key.ts';
import type { Site } from '../ops/process/site.ts';
import { createAdminServer } from './admin/admin.ts';
import { Stats } from './admin/stats.ts';
import { ResponseCache } from './cache/cache.ts';
import { createPublicServer, createSecureServer } from './door/public-server.ts';
import { SecureDoor } from './door/secure-door.ts';
import { ask } from './fleet/ask.ts';
import { Pool, type Upstream } from './fleet/pool.ts';
import { Prober } from './fleet/prober.ts';
import { Roster } from './fleet/roster.ts';
import type { UpstreamEvent, UpstreamState } from './fleet/upstream.ts';
import { createCors } from './limits/cors.ts';
import { createGate } from './limits/gate.ts';
import { BufferBudget } from './passage/budget.ts';
import { createForwarder } from './passage/forward.ts';
import { createJourney } from './passage/journey.ts';
import { SpillFolder } from './passage/spill.ts';
import { Costs } from './schedule/cost.ts';
import { Dispatch } from './schedule/dispatch.ts';
import { watchLoop } from './schedule/loop-lag.ts';
import { Punctuality } from './schedule/punctuality.ts';
import { RecentLoad } from './schedule/recent-load.ts';
import { Events } from './traffic/events.ts';
import { Nodes } from './traffic/nodes.ts';
import { type State, StateFile } from './traffic/state.ts';
import { Traffic } from './traffic/traffic.ts';

export interface BalancerOptions {
  readonly settings: LoadedSettings;
  readonly version: string;
  /** This balancer's name in front of the agents. */
  readonly name: string;
  readonly site: Pick<Site, 'owns' | 'answer'>;
  readonly log: Log;
  readonly now: () => number;
  /** Ms since 1970, for what expires. */
  readonly wallClock?: () => number;
  readonly random: () => number;
}

/** What an agent or a worker needs to be asked for its styles. */
const STYLES_TIMEOUT_MS = 3000;
/** How long an agent may take to write down a drain and ask its workers how busy they are. */
const AGENT_TIMEOUT_MS = 3000;
/** How often to look whether another balancer of this machine has changed the state. */
const FOLLOW_MS = 500;

export function createBalancer({
  settings,
  version,
  name,
  site,
  log,
  now,
  random,
  wallClock = Date.now,
}: BalancerOptions) {
  const { balancer, node } = settings;
  // First: a state that cannot be read stops the start.
  const state = new StateFile(StateFile.pathIn(settings.data_dir), log);
  const events = new Events();
  const metrics = balancerMetrics();
  const stats = new Stats();
  const recent = new RecentLoad();
  const forwarder = createForwarder();
  const budget = new BufferBudget(balancer.buffer_budget);
  const spill = new SpillFolder(join(settings.data_dir, 'uploads'), new BufferBudget(balancer.spill_budget));
  const costs = new Costs();
  const punctuality = new Punctuality();
  const asking = new Set<string>();
  let draining = false;

  const pool: Pool = new Pool({
    counts: balancer,
    zone: node.zone,
    random,
    now,
    events: {
      changed,
      judged,
      stirred: (what) => dispatch.stir(what),
      unweighted: () => traffic.noteUnweighted(),
    },
  });
  const dispatch: Dispatch = new Dispatch({
    pool,
    queueLength: balancer.queue_length,
    order: balancer.order,
    overloadMs: balancer.overload_wait,
    now,
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
    latenessMs: () => punctuality.latenessMs(now()),
    recoveryMs: balancer.check_interval * balancer.rise * 2,
  });
  const prober = new Prober({
    ask,
    intervalMs: balancer.check_interval,
    timeoutMs: balancer.check_timeout,
    nodeKey: node.key,
    random,
    report(id, report) {
      if (report.kind === 'passed') {
        if (report.node !== undefined) pool.learnNode(id, report.node);
        pool.tell(id, { kind: 'passed' });
        if (pool.wantsStyles(id)) void learnStyles(id);
      } else pool.tell(id, { kind: report.kind });
    },
  });
  const roster = new Roster({
    ask,
    agents: [],
    upstreams: [],
    intervalMs: balancer.check_interval,
    timeoutMs: balancer.check_timeout,
    name,
    nodeKey: node.key,
    load: () => {
      recent.look(now(), takenSlots(pool));
      return { queue: dispatch.queued, ...recent.read(now()) };
    },
    log,
    onFault: (reason) => metrics.rosterFaults.inc({ reason }),
    onNode: ({ id, target, draining: isDraining, release, fault }, what) =>
      events.tell('node', {
        node: id,
        url: target.origin,
        what,
        draining: isDraining,
        release: release ?? null,
        fault: fault ?? null,
      }),
    consumer: {
      put(facts) {
        pool.put(facts);
        prober.watch(facts.id, facts.target);
      },
      leaving: (id) => pool.tell(id, { kind: 'leaving' }),
      removed(id) {
        prober.unwatch(id);
        pool.tell(id, { kind: 'removed' });
      },
      expectedToGo: (id) => {
        const kind = pool.get(id)?.state.kind;
        return kind === 'draining' || kind === 'ejected';
      },
    },
  });

  const nodes = new Nodes({
    roster,
    pool,
    state,
    ask,
    nodeKey: node.key,
    timeoutMs: AGENT_TIMEOUT_MS,
    minAvailable: balancer.min_available,
    now,
    sleep,
  });
  const traffic: Traffic = new Traffic({ state, pool, events, metrics, log, clock: () => new Date() });

  /** Brings all parts to what operators have wished. */
  function obey(wished: State): void {
    nodes.obey(wished, [...settings.nodes, ...settings.upstreams]);
    traffic.obey(wished.traffic);
    if (wished.paused === dispatch.paused) return;
    if (wished.paused) dispatch.pause();
    else dispatch.resume();
    events.tell(wished.paused ? 'paused' : 'resumed', { queued: dispatch.queued });
    log.info({ queued: dispatch.queued }, wished.paused ? 'paused' : 'resumed');
  }
  obey(state.state);
  state.follow(FOLLOW_MS, obey);

  function changed(upstream: Upstream, from: UpstreamState['kind'], event: UpstreamEvent): void {
    const { state } = upstream;
    const fields = { upstream: upstream.id, node: upstream.node, from, to: state.kind, event: event.kind };
    events.tell('upstream', {
      ...fields,
      node: upstream.node ?? null,
      reason: state.kind === 'ejected' ? state.reason : null,
    });
    if (state.kind === 'ejected') {
      metrics.ejections.inc({ reason: state.reason });
      log.warn({ ...fields, reason: state.reason }, 'upstream ejected');
      prober.hurry(upstream.id);
      return;
    }
    log.info(fields, 'upstream changed');
    if (state.kind === 'up') void learnStyles(upstream.id);
  }

  function judged({ id, node: on, outlier }: Upstream): void {
    events.tell('upstream', {
      upstream: id,
      node: on ?? null,
      to: outlier.kind === 'in' ? 'up' : 'ejected',
      reason: 'outlier',
    });
    if (outlier.kind === 'in') {
      log.info({ upstream: id, node: on }, 'upstream works again');
      return;
    }
    metrics.ejections.inc({ reason: 'outlier' });
    const term_ms = Math.round(outlier.until - now());
    log.warn({ upstream: id, node: on, reason: 'outlier', term_ms }, 'upstream ejected');
    dispatch.stirAt(outlier.until);
  }

  /** Asks a worker what it can draw; a failure is made good after its next passing check. */
  async function learnStyles(id: string): Promise<void> {
    const upstream = pool.get(id);
    if (!upstream || asking.has(id)) return;
    asking.add(id);
    const headers = nodeKeyHeader(node.key);
    const asked = await ask(upstream.target, PATHS.styles, headers, STYLES_TIMEOUT_MS);
    asking.delete(id);
    const list =
      asked.kind === 'answer' && asked.status === 200 ? styleListSchema.safeParse(asked.body) : undefined;
    if (list?.success) pool.learnStyles(id, list.data.styles);
  }

  const gate = createGate(balancer);
  const doorkeeping = { isProxy: (address: string) => gate.whoIs(address, {}).byProxy };
  const { tls } = balancer;
  const secureDoor: SecureDoor | undefined =
    tls.cert_file === ''
      ? undefined
      : new SecureDoor({
          files: tls,
          port: tls.port,
          host: balancer.host,
          awaitsFirst: tls.acme_dir !== '',
          createServer: (certificate) => createSecureServer(journey, certificate, doorkeeping),
          onCertificate: ({ expiresAt }) => metrics.certificateExpiry.set(expiresAt / 1000),
          log,
          wallClock,
        });

  const cache = new ResponseCache({
    settings: balancer.cache,
    nodeKey: node.key,
    pool,
    metrics,
    log,
    now,
  });
  const journey = createJourney({
    settings,
    version,
    pool,
    dispatch,
    costs,
    punctuality,
    forwarder,
    budget,
    spill,
    cache,
    gate,
    cors: createCors(balancer.cors),
    site,
    metrics,
    stats,
    recent,
    traffic,
    log,
    draining: () => draining,
    httpsPort: () => secureDoor?.address?.port,
    now,
  });
  const admin = createAdminServer({
    pool,
    dispatch,
    nodes,
    traffic,
    events,
    state,
    cache,
    gate,
    minAvailable: balancer.min_available,
    metrics,
    stats,
    recent,
    now,
    version,
    draining: () => draining,
    token: balancer.admin_token,
    autoscale: () => viewAutoscale(settings.data_dir),
    lastBackup: () => lastBackup(settings.data_dir),
    log,
  });

  const publicServer = createPublicServer(journey, doorkeeping);

  return {
    pool,
    dispatch,
    costs,
    budget,
    spill,
    cache,
    journey,
    roster,
    prober,
    forwarder,
    metrics,
    publicServer,
    /** Undefined without a certificate in the settings. */
    secureDoor,
    /** Begins to watch the event loop; returns how to stop. */
    watchLoop: () => watchLoop(now, (lagMs) => punctuality.noteLag(now(), lagMs)),
    adminServer: admin.server,
    endAdminStreams: admin.endStreams,
    nodes,
    state,
    traffic,
    /** Resolves when every known upstream was checked once, and those that are up have said what they draw; or in time. */
    firstChecks: async (withinMs: number) => {
      const until = now() + withinMs;
      const isOpen = ({ id, state: { kind }, styles }: Upstream) =>
        !prober.checked(id) || (kind === 'up' && styles === undefined);
      while (now() < until && [...pool.upstreams()].some(isOpen)) await sleep(5);
    },
    /** Client connections that are open, on all public ports. */
    openConnections: async () =>
      (await publicServer.connections()) + ((await secureDoor?.connections()) ?? 0),
    /** From now on `/ready` says "draining" and connections are not kept alive. */
    startDraining: () => {
      draining = true;
    },
  };
}

const takenSlots = (pool: Pool) => [...pool.upstreams()].reduce((sum, { taken }) => sum + taken, 0);

export type Balancer = ReturnType<typeof createBalancer>;
