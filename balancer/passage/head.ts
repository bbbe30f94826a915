// Judges a request by its head, before a byte of its body is taken: version, target, method, length, coding, patience.
// Pure. Everything here is what llhttp lets through and a front must not (facts: CL/TE disagreement, two Hosts, absolute
// targets, foreign versions); what llhttp itself refuses never comes this far.

import { CHALLENGE_PATH, HEADERS, PATHS, styleOfThumbnail } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { type Priority, priorities } from '../schedule/queue.ts';

/** The head of a request as Node gives it. */
export interface RawHead {
  readonly method: string;
  readonly target: string;
  readonly httpVersion: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Name, value, name, value, as sent. */
  readonly rawHeaders: readonly string[];
}

/** Where a request wants to go. */
export type Route =
  /** A picture to draw. `path` is the path for the worker. */
  | { readonly kind: 'draw'; readonly path: string; readonly label: string }
  | { readonly kind: 'styles'; readonly label: string }
  | { readonly kind: 'result'; readonly id: string; readonly label: string }
  /** How an added style looks; those of the package are the site's. */
  | { readonly kind: 'thumbnail'; readonly style: string; readonly label: string }
  | { readonly kind: 'health' | 'ready' | 'live'; readonly label: string }
  /** The proof of an ACME client that a name is ours. */
  | { readonly kind: 'challenge'; readonly token: string; readonly label: string }
  /** Page, docs and whatever else the static site has; it decides whether the path exists. */
  | { readonly kind: 'site'; readonly label: string };

/** A request that may be looked at further. */
export interface Head {
  readonly route: Route;
  readonly path: string;
  readonly query: string;
  /** Bytes that will come; undefined with chunked coding. 0 without a body. */
  readonly contentLength: number | undefined;
  /** The client's own patience, ms. */
  readonly patienceMs: number | undefined;
  readonly priority: Priority;
}

/** How a body is announced. */
export interface Framing {
  readonly hasBody: boolean;
  readonly contentLength: number | undefined;
}

const MAX_HEADERS = 100;
const MAX_PATIENCE_MS = 600_000;
/** The methods of each kind of route. */
const METHODS: Readonly<Record<Route['kind'], readonly string[]>> = {
  draw: ['POST'],
  styles: ['GET', 'HEAD'],
  result: ['GET', 'HEAD'],
  thumbnail: ['GET', 'HEAD'],
  health: ['GET', 'HEAD'],
  ready: ['GET', 'HEAD'],
  live: ['GET', 'HEAD'],
  challenge: ['GET', 'HEAD'],
  site: ['GET', 'HEAD'],
};

const EXACT = new Map<string, Route>([
  ...[PATHS.images, PATHS.transform, PATHS.upload, PATHS.apiTransform, PATHS.predict].map(
    (path): [string, Route] => [path, { kind: 'draw', path, label: path }],
  ),
  [`${PATHS.predict}/`, { kind: 'draw', path: PATHS.predict, label: PATHS.predict }],
  [PATHS.styles, { kind: 'styles', label: PATHS.styles }],
  [PATHS.health, { kind: 'health', label: PATHS.health }],
  [PATHS.ready, { kind: 'ready', label: PATHS.ready }],
  [PATHS.kserveReady, { kind: 'ready', label: PATHS.kserveReady }],
  [PATHS.live, { kind: 'live', label: PATHS.live }],
  [PATHS.kserveLive, { kind: 'live', label: PATHS.kserveLive }],
]);
const SITE: Route = { kind: 'site', label: 'site' };
const RESULTS_PREFIX = `${PATHS.results}/`;
const CHALLENGE_PREFIX = `${CHALLENGE_PATH}/`;

/** Which route a path has. Exact: no decoding, no dots, no doubled slashes. */
export function routeOf(path: string): Route {
  const exact = EXACT.get(path);
  if (exact) return exact;
  if (path.startsWith(RESULTS_PREFIX))
    return { kind: 'result', id: path.slice(RESULTS_PREFIX.length), label: `${PATHS.results}/{id}` };
  if (path.startsWith(CHALLENGE_PREFIX))
    return { kind: 'challenge', token: path.slice(CHALLENGE_PREFIX.length), label: CHALLENGE_PATH };
  const style = styleOfThumbnail(path);
  if (style !== undefined) return { kind: 'thumbnail', style, label: PATHS.thumbnails };
  return SITE;
}

/** Methods that a route takes, for `Allow`. */
export function allowOf(route: Route): readonly string[] {
  return [...METHODS[route.kind], 'OPTIONS'];
}

/** Splits a target without judging it. */
export function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf('?');
  return mark === -1
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

/**
 * Judges how a body is announced. Whatever comes after a refusal here cannot be trusted to begin where we think, so the
 * connection is closed.
 * @throws {ToonError} `bad_request` or `not_implemented`.
 */
export function judgeFraming({ method, httpVersion, headers, rawHeaders }: RawHead): Framing {
  const lengths = countOf(rawHeaders, 'content-length');
  const codings = countOf(rawHeaders, 'transfer-encoding');
  const coding = headers['transfer-encoding'];
  const length = headers['content-length'];
  if (codings > 0) {
    if (lengths > 0) throw bad('Content-Length and Transfer-Encoding cannot stand together.');
    if (codings > 1 || typeof coding !== 'string' || coding.trim().toLowerCase() !== 'chunked')
      throw new ToonError('not_implemented', { detail: 'Only "Transfer-Encoding: chunked" is understood.' });
    if (httpVersion !== '1.1') throw bad('Transfer-Encoding needs HTTP/1.1.');
    if (method !== 'POST') throw bad(`A chunked body has no meaning with ${method.slice(0, 20)}.`);
    return { hasBody: true, contentLength: undefined };
  }
  if (lengths > 1) throw bad('Content-Length was sent twice.');
  if (length === undefined) return { hasBody: false, contentLength: 0 };
  if (typeof length !== 'string' || !/^\d{1,15}$/.test(length)) throw bad('Content-Length is no number.');
  const contentLength = Number(length);
  return { hasBody: contentLength > 0, contentLength };
}

/**
 * Judges the rest of the head. `siteOwns` tells which other paths exist.
 * @throws {ToonError} with the code that the fault has in the table.
 */
export function judgeHead(
  head: RawHead,
  { contentLength }: Framing,
  siteOwns: (path: string) => boolean,
): Head {
  const { method, target, httpVersion, headers, rawHeaders } = head;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw new ToonError('http_version_not_supported');
  if (rawHeaders.length > 2 * MAX_HEADERS)
    throw new ToonError('headers_too_large', { detail: `At most ${MAX_HEADERS} header fields are read.` });
  judgeHost(head);
  const { path, query } = splitTarget(target);
  const named = routeOf(path);
  const route = named.kind === 'thumbnail' && siteOwns(path) ? SITE : named;
  if (target === '*' && method === 'OPTIONS')
    return { route: SITE, path, query, contentLength, patienceMs: undefined, priority: 'interactive' };
  // Origin form only; never "//host", which some take for a host, and no bytes that some normalise.
  if (!/^\/(?!\/)[\x21-\x7e]*$/.test(target) || target.includes('\\') || target.includes('#'))
    throw bad('The request target must be a plain path, such as /v1/images.');
  if (route.kind === 'site' && !siteOwns(path)) throw new ToonError('not_found');
  const allow = allowOf(route);
  if (!allow.includes(method)) throw new ToonError('method_not_allowed', { allow });
  return {
    route,
    path,
    query,
    contentLength,
    patienceMs: patienceOf(headers[HEADERS.deadlineMs]),
    priority: priorityOf(headers[HEADERS.priority]),
  };
}

function judgeHost({ httpVersion, headers, rawHeaders }: RawHead): void {
  const hosts = countOf(rawHeaders, 'host');
  if (hosts > 1) throw bad('Host was sent twice.');
  if (hosts === 0 && httpVersion === '1.1') throw bad('HTTP/1.1 needs a Host.');
  const { host } = headers;
  if (
    typeof host === 'string' &&
    host !== '' &&
    !/^([A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?$/.test(host)
  )
    throw bad('Host is not a host.');
}

function patienceOf(value: string | string[] | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (ms >= 1 && ms <= MAX_PATIENCE_MS) return ms;
  throw bad(`X-Deadline-Ms: allowed is a whole number from 1 to ${MAX_PATIENCE_MS}.`);
}

function priorityOf(value: string | string[] | undefined): Priority {
  if (value === undefined) return 'interactive';
  const found = priorities.find((priority) => priority === value);
  if (found) return found;
  throw bad(`X-Priority: allowed is ${priorities.join(' or ')}.`);
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const other = rawHeaders[at] ?? '';
    if (other.length === name.length && other.toLowerCase() === name) count += 1;
  }
  return count;
}

const bad = (detail: string) => new ToonError('bad_request', { detail });
