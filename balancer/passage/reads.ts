// What is answered without a slot: stored results, styles, health and readiness.

import { nodeOfResult, PATHS, thumbnailPath } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { Upstream } from '../fleet/pool.ts';
import { attemptLine } from './access-log.ts';
import { maxAnswerBytes, passedHeaders, type WholeAnswer } from './answer.ts';
import type { Outcome } from './forward.ts';
import { forwardedHeaders, type JourneyParts, type Trip } from './trip.ts';

/** A stored result, from any worker of the node in its id. Takes no slot. */
export async function fetchResult(trip: Trip, id: string, parts: JourneyParts): Promise<WholeAnswer> {
  const node = nodeOfResult(id);
  const upstreams = node === undefined ? [] : parts.pool.ofNode(node);
  return await fetchFrom(trip, upstreams, `${PATHS.results}/${id}`, parts);
}

/** How an added style looks, from any worker that draws it. Takes no slot. */
export async function fetchThumbnail(trip: Trip, style: string, parts: JourneyParts): Promise<WholeAnswer> {
  return await fetchFrom(trip, parts.pool.ofStyle(style), thumbnailPath(style), parts);
}

/** What one of some workers answers on a path; none of them means that there is nothing. */
async function fetchFrom(
  trip: Trip,
  upstreams: readonly Upstream[],
  path: string,
  { forwarder, now, settings }: JourneyParts,
): Promise<WholeAnswer> {
  if (upstreams.length === 0) throw new ToonError('not_found');
  let last: Outcome | undefined;
  for (const upstream of upstreams.slice(0, 3)) {
    const from = now();
    const exchange = forwarder.send({
      target: upstream.target,
      method: trip.request.method === 'HEAD' ? 'HEAD' : 'GET',
      path,
      headers: forwardedHeaders(trip, settings.node.key),
      body: undefined,
      patienceMs: Math.max(1, trip.deadlineAt - from),
      maxAnswerBytes: maxAnswerBytes(settings.limits.max_side),
      fresh: false,
      onSlotFree: () => {},
    });
    last = await exchange.outcome;
    trip.attempts.push(attemptLine(upstream, last, exchange.connectMs(), now() - from));
    if (last.kind === 'answer') {
      const headers = passedHeaders(last.headers);
      const length = last.headers['content-length'];
      if (trip.request.method === 'HEAD' && length !== undefined) headers['content-length'] = length;
      return { status: last.status, headers, body: last.body };
    }
    if (trip.gone) throw new ToonError('client_gone');
  }
  throw new ToonError(
    last?.kind === 'timeout' ? 'deadline_exceeded' : 'upstream_failed',
    {},
    { cause: last },
  );
}

export function styles({ pool, settings }: JourneyParts): WholeAnswer {
  const list = pool.styles();
  if (list.length === 0)
    throw new ToonError('no_upstream', { retryAfterMs: settings.balancer.check_interval * 2 });
  return json(200, { styles: list }, { 'cache-control': 'no-cache' });
}

export function health({ pool, version, settings }: JourneyParts): WholeAnswer {
  const loaded = pool.usable();
  return json(loaded ? 200 : 503, {
    status: loaded ? 'healthy' : 'unhealthy',
    model_loaded: loaded,
    node: settings.node.name,
    version,
  });
}

export function ready({ pool, draining, settings }: JourneyParts): WholeAnswer {
  const status = draining() ? 'draining' : pool.usable() ? 'ready' : 'loading';
  return json(status === 'ready' ? 200 : 503, { status, node: settings.node.name });
}

export function json(status: number, body: object, headers: Record<string, string> = {}): WholeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify(body),
  };
}
