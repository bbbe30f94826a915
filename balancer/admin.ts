// The admin port: metrics, the short summary, and behind a token the admin API. Loopback by default and never the public port.

import http from 'node:http';
import { INTERNAL_PATHS, PATHS } from '../config/contract.ts';
import type { Log } from '../ops/process/log.ts';
import type { BalancerMetrics } from '../ops/process/metrics.ts';
import type { ResponseCache } from './cache/cache.ts';
import type { Dispatch } from './dispatch.ts';
import { audit, isGuarded, mayCall } from './guard.ts';
import type { Pool, Upstream } from './pool.ts';
import { priorities } from './queue.ts';
import type { Stats } from './stats.ts';
import { statusOf } from './status.ts';

export interface AdminParts {
  readonly pool: Pool;
  readonly dispatch: Dispatch;
  readonly cache: ResponseCache;
  readonly metrics: BalancerMetrics;
  readonly stats: Stats;
  readonly now: () => number;
  readonly version: string;
  readonly draining: () => boolean;
  readonly token: string | undefined;
  readonly log: Log;
}

export function createAdminServer(parts: AdminParts): http.Server {
  const server = http.createServer(
    {
      headersTimeout: 10_000,
      requestTimeout: 10_000,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      request.resume();
      answer(parts, request).then(
        ({ status, type, body, headers }) =>
          response
            .writeHead(status, { ...headers, 'content-type': type, 'cache-control': 'no-store' })
            .end(body),
        () => response.writeHead(500).end(),
      );
    },
  );
  server.maxConnections = 100;
  return server;
}

interface AdminAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const JSON_TYPE = 'application/json; charset=utf-8';

async function answer(parts: AdminParts, request: http.IncomingMessage): Promise<AdminAnswer> {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  if (isGuarded(path)) {
    const given = guarded(parts, request, path);
    audit(parts.log, request, path, given.status);
    return given;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { status: 405, type: JSON_TYPE, body: '{"error":"This path does not take that method."}' };
  switch (path) {
    case INTERNAL_PATHS.metrics:
      refreshGauges(parts);
      return {
        status: 200,
        type: parts.metrics.registry.contentType,
        body: await parts.metrics.registry.metrics(),
      };
    case INTERNAL_PATHS.stats: {
      const summary = summarise(parts);
      return /\bjson\b/.test(request.headers.accept ?? '')
        ? { status: 200, type: JSON_TYPE, body: JSON.stringify(summary) }
        : { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: asText(summary) };
    }
    case PATHS.live:
      return { status: 200, type: JSON_TYPE, body: '{"status":"live"}' };
    default:
      return { status: 404, type: JSON_TYPE, body: '{"error":"There is nothing here."}' };
  }
}

/** The admin API, for who has the token. */
function guarded(parts: AdminParts, { method, headers }: http.IncomingMessage, path: string): AdminAnswer {
  if (!mayCall(headers.authorization, parts.token))
    return {
      status: 401,
      type: JSON_TYPE,
      headers: { 'www-authenticate': 'Bearer' },
      body: JSON.stringify({
        error:
          parts.token === undefined
            ? 'The admin API is closed: no balancer.admin_token is set.'
            : 'Send the admin token as "Authorization: Bearer TOKEN".',
        code: 'unauthorized',
      }),
    };
  if (path !== STATUS_PATH)
    return { status: 404, type: JSON_TYPE, body: '{"error":"There is nothing here."}' };
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, type: JSON_TYPE, body: '{"error":"This path does not take that method."}' };
  return { status: 200, type: JSON_TYPE, body: JSON.stringify(statusOf(parts)) };
}

const STATUS_PATH = '/admin/v1/status';

const STATES = ['joining', 'up', 'ejected', 'draining'] as const;

/** What is true now, written into the gauges when somebody asks. */
function refreshGauges({ pool, dispatch, cache, metrics }: AdminParts): void {
  metrics.cacheBytes.set(cache.status().bytes);
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

function stateOf({ state, outlier }: Upstream): Upstream['state']['kind'] {
  return state.kind === 'up' && outlier.kind === 'out' ? 'ejected' : state.kind;
}

function slotsOf(upstream: Upstream): { idle: number; busy: number; away: number } {
  const free = Math.max(0, upstream.slots - upstream.taken);
  const up = stateOf(upstream) === 'up' && !upstream.nodeDraining;
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
