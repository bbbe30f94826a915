// Which pages from elsewhere may call us from a browser, and what of an answer they may read. Pure.
//
// An allow-list protects people, not the service: any program may send any Origin. So a request from a foreign page is
// answered like every other one, only without the header that would let the page read it. Keys travel in headers that a
// page sets itself; cookies are not used, so credentials are never allowed.

import type { IncomingHttpHeaders } from 'node:http';
import { HEADERS } from '../../config/contract.ts';

/** Request headers that a page may set. */
const ALLOWED_HEADERS = [
  'Content-Type',
  'Accept',
  'Authorization',
  'X-API-Key',
  'X-Request-Id',
  'traceparent',
  'X-Deadline-Ms',
  'X-Priority',
  'Cache-Control',
  'Idempotency-Key',
  'Prefer',
  'Range',
  'If-None-Match',
  'If-Range',
  'Last-Event-ID',
].join(', ');

/** Response headers that a page may read beside the few that the standard lets through. */
const EXPOSED_HEADERS = [
  HEADERS.requestId,
  HEADERS.traceparent,
  HEADERS.serverTiming,
  HEADERS.style,
  HEADERS.model,
  HEADERS.effort,
  HEADERS.faces,
  HEADERS.node,
  HEADERS.cache,
  HEADERS.queueLength,
  HEADERS.rateLimit,
  HEADERS.rateLimitPolicy,
  HEADERS.authenticate,
  'retry-after',
  'location',
  'etag',
  'content-disposition',
  'content-length',
  'content-range',
  'accept-ranges',
].join(', ');

/** How long a browser may keep the answer to a preflight. */
const MAX_AGE_S = 600;
const PREFLIGHT_VARY = ['Origin', 'Access-Control-Request-Method', 'Access-Control-Request-Headers'];

export interface Cors {
  /** An answer's headers with what the page behind the request may know of it. */
  onAnswer(headers: Readonly<Record<string, string>>, request: IncomingHttpHeaders): Record<string, string>;
  /** What a preflight is answered beside that; nothing for an OPTIONS request that is none. */
  onPreflight(methods: readonly string[], request: IncomingHttpHeaders): Record<string, string>;
}

/** @param origins as `balancer.cors` has them; none switches all of it off. */
export function createCors(origins: readonly string[]): Cors {
  if (origins.length === 0) return { onAnswer: (headers) => ({ ...headers }), onPreflight: () => ({}) };
  const anybody = origins.includes('*');
  const exact = new Set(origins);
  const families = origins.flatMap((origin) => {
    const [scheme, domain] = origin.split('://*');
    return scheme !== undefined && domain ? [{ scheme: `${scheme}://`, domain }] : [];
  });
  const isAllowed = (origin: string): boolean =>
    exact.has(origin) ||
    families.some(
      ({ scheme, domain }) =>
        origin.startsWith(scheme) &&
        origin.endsWith(domain) &&
        /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(origin.slice(scheme.length, -domain.length)),
    );
  /** What `Access-Control-Allow-Origin` says. */
  const allowed = ({ origin }: IncomingHttpHeaders): string | undefined => {
    if (anybody) return '*';
    return origin !== undefined && isAllowed(origin) ? origin : undefined;
  };

  return {
    onAnswer(headers, request) {
      const origin = allowed(request);
      return {
        ...headers,
        // Even where nothing is allowed: a cache must not give this answer to a page for which it would be.
        ...(anybody ? {} : { vary: joined(headers.vary, ['Origin']) }),
        ...(origin === undefined
          ? {}
          : {
              'access-control-allow-origin': origin,
              'access-control-expose-headers': EXPOSED_HEADERS,
              'timing-allow-origin': origin,
            }),
      };
    },
    onPreflight(methods, request) {
      if (request.origin === undefined || request['access-control-request-method'] === undefined) return {};
      const vary = { vary: joined(undefined, PREFLIGHT_VARY) };
      if (allowed(request) === undefined) return vary;
      return {
        ...vary,
        'access-control-allow-methods': methods.join(', '),
        'access-control-allow-headers': ALLOWED_HEADERS,
        'access-control-max-age': String(MAX_AGE_S),
      };
    },
  };
}

/** The names of a `Vary` with more of them, each once. */
function joined(vary: string | undefined, more: readonly string[]): string {
  const names = (vary ?? '').split(',').map((name) => name.trim());
  const all = [...names.filter((name) => name !== ''), ...more];
  return all
    .filter((name, index) => all.findIndex((other) => other.toLowerCase() === name.toLowerCase()) === index)
    .join(', ');
}
