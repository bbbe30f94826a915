// What `GET /admin/v1/status` tells: the line, the traffic, the nodes and every upstream as the balancer sees them. No
// secrets.

import type { AdminStatus } from '../../config/admin.ts';
import type { ResponseCache } from '../cache/cache.ts';
import type { Pool, Upstream } from '../fleet/pool.ts';
import type { Dispatch } from '../schedule/dispatch.ts';
import type { RecentLoad } from '../schedule/recent-load.ts';
import type { Nodes } from '../traffic/nodes.ts';
import { spareOf } from '../traffic/spare.ts';
import type { Traffic } from '../traffic/traffic.ts';

export interface StatusParts {
  readonly pool: Pool;
  readonly dispatch: Dispatch;
  readonly cache: Pick<ResponseCache, 'status'>;
  readonly nodes: Nodes;
  readonly traffic: Traffic;
  readonly recent: RecentLoad;
  readonly minAvailable: number;
  readonly now: () => number;
  readonly version: string;
  readonly draining: () => boolean;
}

/** The state of this balancer as plain values. */
export function statusOf(parts: StatusParts) {
  const { pool, dispatch, cache, nodes, traffic, recent, minAvailable, now, version, draining } = parts;
  const list = nodes.list();
  const { mean, p95, wait, busy } = recent.read(now());
  const places = list.map((node) => ({ zone: node.zone ?? node.id, slots: node.slots_in_service }));
  return {
    version,
    status: draining() ? 'draining' : pool.usable() ? 'ready' : 'loading',
    paused: dispatch.paused,
    min_available: minAvailable,
    queue: { interactive: dispatch.queuedOf('interactive'), batch: dispatch.queuedOf('batch') },
    cache: cache.status(),
    traffic: traffic.told(),
    load: { busy, mean_ms: mean, p95_ms: p95, wait_ms: wait },
    spare: spareOf(places, busy, dispatch.queued),
    nodes: list,
    upstreams: [...pool.upstreams()].map((upstream) => upstreamStatus(upstream, now())),
  } satisfies AdminStatus & { cache: object };
}

function upstreamStatus(upstream: Upstream, now: number) {
  const { id, target, node, state, outlier, nodeDraining, slots, taken, pace, nearby, warmth } = upstream;
  return {
    id,
    url: target.origin,
    node: node ?? null,
    release: upstream.release ?? null,
    state: state.kind,
    reason: state.kind === 'ejected' ? state.reason : null,
    /** Ms until one request may show whether it works again; null while it is counted on. */
    outlier_ms: outlier.kind === 'out' ? Math.max(0, Math.round(outlier.until - now)) : null,
    node_draining: nodeDraining,
    slots,
    taken,
    in_flight: upstream.inFlight,
    pace: pace === undefined ? null : Math.round(pace * 100) / 100,
    nearby,
    warmth: Math.round(warmth * 100) / 100,
    styles: upstream.styles?.map((style) => style.id) ?? null,
  };
}
