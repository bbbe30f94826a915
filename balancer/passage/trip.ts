// What one request has with it on its way, and the parts of the balancer that it meets. Decides nothing.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { FORWARDED_REQUEST_HEADERS, HEADERS } from '../../config/contract.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { Log } from '../../ops/process/log.ts';
import type { BalancerMetrics } from '../../ops/process/metrics.ts';
import { nodeKeyHeader } from '../../ops/process/node-key.ts';
import type { Site } from '../../ops/process/site.ts';
import type { Stats } from '../admin/stats.ts';
import type { CacheResult, ResponseCache } from '../cache/cache.ts';
import type { Pool } from '../fleet/pool.ts';
import type { Cors } from '../limits/cors.ts';
import type { Gate, Pass } from '../limits/gate.ts';
import type { Costs } from '../schedule/cost.ts';
import type { Dispatch } from '../schedule/dispatch.ts';
import type { Punctuality } from '../schedule/punctuality.ts';
import type { Priority } from '../schedule/queue.ts';
import type { RecentLoad } from '../schedule/recent-load.ts';
import type { Traffic } from '../traffic/traffic.ts';
import type { AttemptLine } from './access-log.ts';
import type { BufferBudget } from './budget.ts';
import type { Forwarder } from './forward.ts';
import type { Framing, Route } from './head.ts';
import type { SpillFolder } from './spill.ts';
import type { Phase } from './termination.ts';

export interface JourneyParts {
  readonly settings: Pick<LoadedSettings, 'limits' | 'balancer' | 'node'>;
  readonly version: string;
  readonly pool: Pool;
  readonly dispatch: Dispatch;
  readonly costs: Costs;
  readonly punctuality: Punctuality;
  readonly forwarder: Forwarder;
  readonly budget: BufferBudget;
  readonly spill: SpillFolder;
  readonly cache: ResponseCache;
  readonly gate: Gate;
  readonly cors: Cors;
  readonly site: Pick<Site, 'owns' | 'answer'>;
  readonly metrics: BalancerMetrics;
  readonly stats: Stats;
  readonly recent: RecentLoad;
  readonly traffic: Traffic;
  readonly log: Log;
  /** Whether this balancer is being taken out of service. */
  readonly draining: () => boolean;
  /** Whether HTTPS can be had, so that nobody is sent to a closed port. */
  readonly httpsPort: () => number | undefined;
  readonly now: () => number;
}

/** What one request has with it on its way. */
export interface Trip {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The client waits for "100 Continue" before it sends its body. */
  readonly awaitsContinue: boolean;
  readonly startedAt: number;
  readonly id: string;
  readonly path: string;
  /** It came over TLS. */
  readonly secure: boolean;
  /** The other end of the connection. */
  readonly peer: string;
  /** The other end is a trusted proxy. */
  readonly byProxy: boolean;
  /** The address behind trusted proxies; mostly the peer's own. */
  readonly client: string;
  /** The API key that it is counted on, by its name. */
  key: string | undefined;
  /** What it was let in with; undefined before that, and for what needs none. */
  pass: Pass | undefined;
  /** Headers for its answer that its way has given it. */
  readonly answerHeaders: Record<string, string>;
  route: Route;
  /** Undefined while it is not judged, and for ever when it cannot be trusted: then the connection is closed. */
  framing: Framing | undefined;
  phase: Phase;
  deadlineAt: number;
  /** The client went away before its answer was written. */
  gone: boolean;
  /** What has to happen at once when it does. */
  onGone: () => void;
  priority: Priority;
  bytesIn: number;
  bytesOut: number;
  style: string | undefined;
  /** What the response cache did; undefined before it was asked. */
  cache: CacheResult | undefined;
  uploadMs: number | undefined;
  queueMs: number | undefined;
  /** How many stood before it when it first joined the line; undefined when it never had to wait. */
  queuePosition: number | undefined;
  connectMs: number | undefined;
  nodeMs: number | undefined;
  readonly attempts: AttemptLine[];
}

/** What of a client's headers may go to a worker, with our own beside it. */
export function forwardedHeaders(trip: Trip, nodeKey: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of FORWARDED_REQUEST_HEADERS) {
    const value = trip.request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  headers[HEADERS.requestId] = trip.id;
  Object.assign(headers, nodeKeyHeader(nodeKey));
  return headers;
}
