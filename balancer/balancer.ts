// Builds one balancer from its settings: the parts, and the few places where one part's news reaches another.
// Building is not listening: tests and the composition root bind the ports.

import { HEADERS, PATHS, styleListSchema } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import type { Log } from '../ops/process/log.ts';
import { balancerMetrics } from '../ops/process/metrics.ts';
import type { Site } from '../ops/process/site.ts';
import { createAdminServer } from './admin.ts';
import { ask } from './ask.ts';
import { BufferBudget } from './budget.ts';
import { ResponseCache } from './cache/cache.ts';
import { Costs } from './cost.ts';
import { Dispatch } from './dispatch.ts';
import { createForwarder } from './forward.ts';
import { createJourney } from './journey.ts';
import { createCors } from './limits/cors.ts';
import { createGate } from './limits/gate.ts';
import { watchLoop } from './loop-lag.ts';
import { Pool, type Upstream } from './pool.ts';
import { Prober } from './prober.ts';
import { createPublicServer, createSecureServer } from './public-server.ts';
import { Punctuality } from './punctuality.ts';
import { Roster } from './roster.ts';
import { SecureDoor } from './secure-door.ts';
import { Stats } from './stats.ts';
import type { UpstreamEvent, UpstreamState } from './upstream.ts';

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
  const metrics = balancerMetrics();
  const stats = new Stats();
  const forwarder = createForwarder();
  const budget = new BufferBudget(balancer.buffer_budget);
  const costs = new Costs();
  const punctuality = new Punctuality();
  const asking = new Set<string>();
  let draining = false;

  const pool: Pool = new Pool({
    counts: balancer,
    zone: node.zone,
    random,
    now,
    events: { changed, judged, stirred: (what) => dispatch.stir(what) },
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
    agents: settings.nodes,
    upstreams: settings.upstreams,
    intervalMs: balancer.check_interval,
    timeoutMs: balancer.check_timeout,
    name,
    nodeKey: node.key,
    log,
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

  function changed(upstream: Upstream, from: UpstreamState['kind'], event: UpstreamEvent): void {
    const { state } = upstream;
    const fields = { upstream: upstream.id, node: upstream.node, from, to: state.kind, event: event.kind };
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
    const headers = node.key === undefined ? {} : { [HEADERS.nodeKey]: node.key };
    const asked = await ask(upstream.target, PATHS.styles, headers, STYLES_TIMEOUT_MS);
    asking.delete(id);
    const list =
      asked.kind === 'answer' && asked.status === 200 ? styleListSchema.safeParse(asked.body) : undefined;
    if (list?.success) pool.learnStyles(id, list.data.styles);
  }

  const { tls } = balancer;
  const secureDoor: SecureDoor | undefined =
    tls.cert_file === ''
      ? undefined
      : new SecureDoor({
          files: tls,
          port: tls.port,
          host: balancer.host,
          awaitsFirst: tls.acme_dir !== '',
          createServer: (certificate) => createSecureServer(journey, certificate),
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
    cache,
    gate: createGate(balancer),
    cors: createCors(balancer.cors),
    site,
    metrics,
    stats,
    log,
    draining: () => draining,
    httpsPort: () => secureDoor?.address?.port,
    now,
  });

  return {
    pool,
    dispatch,
    costs,
    budget,
    cache,
    journey,
    roster,
    prober,
    forwarder,
    metrics,
    publicServer: createPublicServer(journey),
    /** Undefined without a certificate in the settings. */
    secureDoor,
    adminServer: createAdminServer({
      pool,
      dispatch,
      cache,
      metrics,
      stats,
      now,
      version,
      draining: () => draining,
      token: balancer.admin_token,
      log,
    }),
    /** Begins to watch the event loop; returns how to stop. */
    watchLoop: () => watchLoop(now, (lagMs) => punctuality.noteLag(now(), lagMs)),
    /** From now on `/ready` says "draining" and connections are not kept alive. */
    startDraining: () => {
      draining = true;
    },
  };
}
export type Balancer = ReturnType<typeof createBalancer>;
