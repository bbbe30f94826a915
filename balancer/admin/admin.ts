// The admin port: metrics, the short summary, and behind a token the admin API. Loopback by default and never the public port.

import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { INTERNAL_PATHS, PATHS } from '../../config/contract.ts';
import { ERRORS, renderError, ToonError, toToonError } from '../../config/errors.ts';
import type { AutoscaleView } from '../../ops/process/autoscale-file.ts';
import type { Log } from '../../ops/process/log.ts';
import type { BalancerMetrics } from '../../ops/process/metrics.ts';
import type { ResponseCache } from '../cache/cache.ts';
import type { Upstream } from '../fleet/pool.ts';
import type { Gate } from '../limits/gate.ts';
import { priorities } from '../schedule/queue.ts';
import { type ApiParts, callApi, streamEvents } from '../traffic/api.ts';
import { audit, comesFromAnotherSite, isGuarded, mayCall } from './guard.ts';
import type { Stats } from './stats.ts';

export interface AdminParts extends ApiParts {
  readonly cache: ResponseCache;
  readonly gate: Pick<Gate, 'remembered'>;
  readonly metrics: BalancerMetrics;
  readonly stats: Stats;
  readonly token: string | undefined;
  /** What autoscale on this box remembers. */
  readonly autoscale: () => AutoscaleView | undefined;
  /** When this machine was last backed up, s since 1970; undefined where that was never tried. */
  readonly lastBackup: () => number | undefined;
  readonly log: Log;
}

/** The admin port's server, and how to end the streams that would keep it open. */
export interface AdminServer {
  readonly server: http.Server;
  readonly endStreams: () => void;
}

export function createAdminServer(parts: AdminParts): AdminServer {
  const streams = new Set<() => void>();
  const server = http.createServer(
    {
      headersTimeout: 10_000,
      requestTimeout: 10_000,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0] ?? '';
      const answering = isGuarded(path)
        ? guarded(parts, request, path)
        : open(parts, request, path).catch((error: unknown) => failed(parts, toToonError(error), path));
      void answering.then((answer) => {
        request.resume();
        if (answer.kind === 'events') {
          const end = streamEvents(response, parts.events, answer.after);
          streams.add(end);
          response.once('close', () => streams.delete(end));
          return;
        }
        const { status, type, body, headers } = answer;
        const leaving = parts.draining() ? { connection: 'close' } : {};
        response
          .writeHead(status, { ...headers, ...leaving, 'content-type': type, 'cache-control': 'no-store' })
          .end(request.method === 'HEAD' ? '' : body);
      });
    },
  );
  server.maxConnections = 100;
  return {
    server,
    endStreams: () => {
      for (const end of [...streams]) end();
    },
  };
}

type AdminAnswer =
  | {
      readonly kind: 'text';
      readonly status: number;
      readonly type: string;
      readonly body: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'events'; readonly after: number | undefined };

const JSON_TYPE = 'application/json; charset=utf-8';

/** The paths that need no token. */
async function open(parts: AdminParts, request: http.IncomingMessage, path: string): Promise<AdminAnswer> {
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const reading = () => {
    if (!isRead) throw new ToonError('method_not_allowed', { allow: ['GET', 'HEAD'] });
  };
  switch (path) {
    case INTERNAL_PATHS.metrics:
      reading();
      refreshGauges(parts);
      showAutoscale(parts);
      showBackup(parts);
      return {
        kind: 'text',
        status: 200,
        type: parts.metrics.registry.contentType,
        body: await parts.metrics.registry.metrics(),
      };
    case INTERNAL_PATHS.stats: {
      reading();
      const summary = summarise(parts);
      return /\bjson\b/.test(request.headers.accept ?? '')
        ? { kind: 'text', status: 200, type: JSON_TYPE, body: JSON.stringify(summary) }
        : {
            kind: 'text',
            status: 200,
            type: 'text/plain; version=0.0.4; charset=utf-8',
            body: asText(summary),
          };
    }
    case PATHS.live:
      reading();
      return { kind: 'text', status: 200, type: JSON_TYPE, body: '{"status":"live"}' };
    default:
      throw new ToonError('not_found');
  }
}

/** The admin API, for who has the token. Every call leaves its line when it is answered. */
async function guarded(parts: AdminParts, request: http.IncomingMessage, path: string): Promise<AdminAnswer> {
  const done = (answer: AdminAnswer, why?: string): AdminAnswer => {
    audit(parts.log, request, path, answer.kind === 'text' ? answer.status : 200, why);
    return answer;
  };
  try {
    if (!mayCall(request.headers.authorization, parts.token))
      throw new ToonError('unauthorized', {
        detail:
          parts.token === undefined
            ? 'The admin API is closed: no balancer.admin_token is set.'
            : 'Send the admin token as "Authorization: Bearer TOKEN".',
      });
    if (comesFromAnotherSite(request.headers))
      throw new ToonError('unauthorized', { detail: 'A page of another site may not call the admin API.' });
    const answer = await callApi(parts, request);
    if (answer.kind === 'events') return done(answer);
    return done({ kind: 'text', status: answer.status, type: JSON_TYPE, body: JSON.stringify(answer.body) });
  } catch (error) {
    const failure = toToonError(error);
    return done(failed(parts, failure, path), failure.message);
  }
}

function failed({ log }: AdminParts, failure: ToonError, path: string): AdminAnswer {
  if (ERRORS[failure.code].status === 500) log.error({ error: failure, path }, 'admin call failed');
  const { status, headers, body } = renderError(failure, 'plain', randomUUID());
  const challenge = failure.code === 'unauthorized' ? { 'www-authenticate': 'Bearer' } : {};
  return { kind: 'text', status, type: JSON_TYPE, headers: { ...headers, ...challenge }, body };
}

const STATES = ['joining', 'up', 'ejected', 'draining'] as const;

/** What is true now, written into the gauges when somebody asks. */
function refreshGauges({ pool, dispatch, cache, gate, metrics }: AdminParts): void {
  metrics.limitedClients.set(gate.remembered());
  metrics.cacheBytes.set(cache.status().bytes);
  metrics.paused.set(dispatch.paused ? 1 : 0);
  metrics.queueLength.reset();
  for (const priority of priorities)
    metrics.queueLength.set({ class: priority }, dispatch.queuedOf(priority));
  metrics.slots.reset();
  metrics.upstreamState.reset();
  for (const upstream of pool.upstreams()) {
    const node = upstream.node ?? '';
    const { idle, busy, away } = slotsOf(upstream);
    metrics.slots.inc({ node, state: 'idle' }, idle);
    metrics.slots.inc({ node, state: 'busy' }, busy);
    metrics.slots.inc({ node, state: 'away' }, away);
    for (const state of STATES)
      metrics.upstreamState.set(
        { upstream: upstream.target.origin, node, state },
        stateOf(upstream) === state ? 1 : 0,
      );
  }
}

/** autoscale may run from a timer, and be away when Prometheus asks; so the balancer beside it tells. */
function showAutoscale({ autoscale, metrics }: Pick<AdminParts, 'autoscale' | 'metrics'>): void {
  const view = autoscale();
  metrics.autoscaleParked.reset();
  for (const agent of view?.parked ?? []) metrics.autoscaleParked.set({ agent }, 1);
  metrics.autoscaleFailed.reset();
  for (const [agent, at] of view?.failed ?? []) metrics.autoscaleFailed.set({ agent }, at / 1000);
  if (view?.wanted === undefined) metrics.autoscaleWanted.remove();
  else metrics.autoscaleWanted.set(view.wanted);
  if (view?.lookedAt === undefined) metrics.autoscaleLooked.remove();
  else metrics.autoscaleLooked.set(view.lookedAt / 1000);
}

function showBackup({ lastBackup, metrics }: Pick<AdminParts, 'lastBackup' | 'metrics'>): void {
  const at = lastBackup();
  if (at === undefined) metrics.backup.remove();
  else metrics.backup.set(at);
}

function stateOf({ state, outlier, nodeDraining }: Upstream): Upstream['state']['kind'] {
  if (state.kind !== 'up') return state.kind;
  if (nodeDraining) return 'draining';
  return outlier.kind === 'out' ? 'ejected' : 'up';
}

function slotsOf(upstream: Upstream): { idle: number; busy: number; away: number } {
  const free = Math.max(0, upstream.slots - upstream.taken);
  const up = stateOf(upstream) === 'up';
  return { idle: up ? free : 0, busy: upstream.taken, away: up ? 0 : free };
}

function summarise({ pool, dispatch, stats, now }: AdminParts) {
  const slots = { idle: 0, busy: 0, away: 0 };
  for (const upstream of pool.upstreams()) {
    const own = slotsOf(upstream);
    slots.idle += own.idle;
    slots.busy += own.busy;
    slots.away += own.away;
  }
  const { qps, meanMs, errorsPerSecond } = stats.read(now());
  return {
    requests_per_second: qps,
    mean_response_ms: meanMs,
    errors_per_second: errorsPerSecond,
    queue_length: dispatch.queued,
    slots_idle: slots.idle,
    slots_busy: slots.busy,
    slots_away: slots.away,
    rss_bytes: process.memoryUsage.rss(),
  };
}

/** As Prometheus text; each line a gauge over the last minute or of this moment. */
function asText(summary: Readonly<Record<string, number>>): string {
  return Object.entries(summary)
    .map(([name, value]) => `# TYPE toonfleet_stats_${name} gauge\ntoonfleet_stats_${name} ${value}\n`)
    .join('');
}
