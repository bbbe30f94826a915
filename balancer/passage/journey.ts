// A request's way, top to bottom: head → limits → the part that answers it → answer or refusal → one line in the log.
// Owns the order, and that each request gets one answer. Pictures: `draw.ts`; everything without a slot: `reads.ts`;
// who may send pictures: `limits/`.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { HEADERS, isRequestId } from '../../config/contract.ts';
import {
  ERRORS,
  type ErrorCode,
  errorShapeOf,
  renderError,
  ToonError,
  toToonError,
} from '../../config/errors.ts';
import { challenge } from '../door/challenge.ts';
import { httpsLocation, isSentOn } from '../door/https-redirect.ts';
import { writeAccessLine } from './access-log.ts';
import { sendAnswer, sendEarlyRefusal, type WholeAnswer } from './answer.ts';
import { draw, type Load } from './draw.ts';
import { allowOf, type Head, judgeFraming, judgeHead, routeOf, splitTarget } from './head.ts';
import { fetchResult, fetchThumbnail, health, json, ready, styles } from './reads.ts';
import { terminationOf } from './termination.ts';
import type { JourneyParts, Trip } from './trip.ts';

/** Requests under way, and the way itself. */
export interface Journey {
  /** Takes one request to its answer. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse, awaitsContinue?: boolean): Promise<void>;
  /** How many requests have no answer yet. */
  readonly underWay: () => number;
}

export function createJourney(parts: JourneyParts): Journey {
  const load: Load = { active: 0, retrying: 0 };
  let underWay = 0;
  return {
    underWay: () => underWay,
    async handle(request, response, awaitsContinue = false) {
      underWay += 1;
      const trip = begin(request, response, awaitsContinue, parts);
      let failure: ToonError | undefined;
      try {
        const answer = await travel(trip, parts, load);
        if (trip.gone) failure = new ToonError('client_gone');
        else write(trip, answer, parts);
      } catch (error) {
        failure = toToonError(error);
        refuse(trip, failure, parts);
      } finally {
        underWay -= 1;
      }
      settle(trip, failure, parts);
    },
  };
}

function begin(
  request: IncomingMessage,
  response: ServerResponse,
  awaitsContinue: boolean,
  { now, settings, gate, punctuality }: JourneyParts,
): Trip {
  const startedAt = now();
  const given = request.headers[HEADERS.requestId];
  const { path } = splitTarget(request.url ?? '');
  const trip: Trip = {
    request,
    response,
    awaitsContinue,
    startedAt,
    id: typeof given === 'string' && isRequestId(given) ? given : randomUUID(),
    path,
    secure: request.socket instanceof TLSSocket,
    ...gate.whoIs(request.socket.remoteAddress, request.headers),
    key: undefined,
    pass: undefined,
    answerHeaders: {},
    route: routeOf(path),
    framing: undefined,
    phase: 'head',
    deadlineAt: startedAt + settings.balancer.deadline,
    gone: false,
    onGone: () => {},
    priority: 'interactive',
    bytesIn: 0,
    bytesOut: 0,
    style: undefined,
    cache: undefined,
    uploadMs: undefined,
    queueMs: undefined,
    queuePosition: undefined,
    connectMs: undefined,
    nodeMs: undefined,
    attempts: [],
  };
  response.on('error', () => {});
  response.once('close', () => {
    if (response.writableFinished) return;
    trip.gone = true;
    if (trip.phase === 'queue' || trip.phase === 'node')
      punctuality.noteGone(now(), trip.deadlineAt - now(), trip.deadlineAt - startedAt);
    trip.onGone();
  });
  return trip;
}

async function travel(trip: Trip, parts: JourneyParts, load: Load): Promise<WholeAnswer> {
  const { request } = trip;
  const raw = {
    method: request.method ?? '',
    target: request.url ?? '',
    httpVersion: request.httpVersion,
    headers: request.headers,
    rawHeaders: request.rawHeaders,
  };
  const framing = judgeFraming(raw);
  trip.framing = framing;
  const head = judgeHead(raw, framing, parts.site.owns);
  trip.priority = head.priority;
  if (head.patienceMs !== undefined) trip.deadlineAt = trip.startedAt + head.patienceMs;
  const { route } = head;
  if (raw.method === 'OPTIONS') {
    const methods = allowOf(route);
    const preflight = parts.cors.onPreflight(methods, request.headers);
    return { status: 204, headers: { allow: methods.join(', '), ...preflight }, body: '' };
  }
  const elsewhere = overHttps(trip, raw.target, parts);
  if (elsewhere) return elsewhere;
  switch (route.kind) {
    case 'draw':
      return admitted(trip, head, parts, (within) => draw(trip, within, route.path, parts, load));
    case 'result':
      return fetchResult(trip, route.id, parts);
    case 'thumbnail':
      return fetchThumbnail(trip, route.style, parts);
    case 'styles':
      return styles(parts);
    case 'health':
      return health(parts);
    case 'ready':
      return ready(parts);
    case 'live':
      return json(200, { status: 'live' });
    case 'challenge':
      return challenge(parts.settings.balancer.tls.acme_dir, route.token);
    case 'site': {
      const answer = parts.site.answer(raw.method, head.path, {
        'if-none-match': request.headers['if-none-match'],
        'accept-encoding': request.headers['accept-encoding'],
      });
      if (answer) return answer;
      throw new ToonError('not_found');
    }
  }
}

/** The way to HTTPS for a request that came without it, when the settings want that. */
function overHttps(
  { secure, byProxy, request, route }: Trip,
  target: string,
  { settings, httpsPort }: JourneyParts,
): WholeAnswer | undefined {
  const { redirect, public_port } = settings.balancer.tls;
  // A trusted proxy has ended TLS itself, or sends its clients on itself: from here they would go round in circles.
  const port = redirect && !secure && !byProxy && isSentOn(route) ? httpsPort() : undefined;
  if (port === undefined) return undefined;
  const location = httpsLocation(request.headers.host, target, public_port || port);
  if (location === undefined) throw new ToonError('bad_request', { detail: 'Please come by HTTPS.' });
  // 308 keeps method and body. Not to be remembered: an operator may change his mind.
  return { status: 308, headers: { location, 'cache-control': 'no-store' }, body: '' };
}

/** What only clients within their limits may have: pictures. Everything else costs little and is never limited. */
async function admitted(
  trip: Trip,
  head: Head,
  { gate, now }: JourneyParts,
  go: (head: Head) => Promise<WholeAnswer>,
): Promise<WholeAnswer> {
  const { request, response, client } = trip;
  const verdict = gate.admit({ client, headers: request.headers, priority: head.priority }, now());
  if (verdict.kind === 'refused') {
    trip.key = verdict.key;
    Object.assign(trip.answerHeaders, verdict.headers);
    throw verdict.error;
  }
  const { pass } = verdict;
  trip.pass = pass;
  trip.key = pass.key;
  trip.priority = pass.priority;
  const leave = () => pass.leave(now());
  try {
    const answer = await go({ ...head, priority: pass.priority });
    // Whoever reads slowly keeps the place meanwhile.
    if (response.closed) leave();
    else response.once('close', leave);
    return answer;
  } catch (error) {
    leave();
    throw error;
  }
}

/** Headers of ours on every answer. */
function ownHeaders(trip: Trip, { draining, settings, now }: JourneyParts): Record<string, string> {
  const headers: Record<string, string> = {
    [HEADERS.requestId]: trip.id,
    ...trip.pass?.fields(now()),
    ...trip.answerHeaders,
  };
  const { traceparent } = trip.request.headers;
  if (typeof traceparent === 'string') headers[HEADERS.traceparent] = traceparent;
  // A connection that stays open would keep the old process's port busy.
  if (draining()) headers.connection = 'close';
  const hstsSeconds = Math.floor(settings.balancer.tls.hsts / 1000);
  if (trip.secure && hstsSeconds > 0) headers['strict-transport-security'] = `max-age=${hstsSeconds}`;
  return headers;
}

function write(trip: Trip, answer: WholeAnswer, parts: JourneyParts): void {
  const { request, response } = trip;
  trip.pass?.settle(answer.status);
  const headers = parts.cors.onAnswer({ ...answer.headers, ...ownHeaders(trip, parts) }, request.headers);
  trip.phase = 'answer';
  trip.bytesOut = answer.body.length;
  // A body that nobody asked for, such as with GET: answered, but not read to its end.
  if (trip.framing?.hasBody && !request.complete)
    sendEarlyRefusal(request, response, { status: answer.status, headers, body: answer.body });
  else sendAnswer(response, { status: answer.status, headers, body: answer.body }, request.method === 'HEAD');
}

function refuse(trip: Trip, failure: ToonError, parts: JourneyParts): void {
  const { request, response } = trip;
  trip.pass?.settle(failure.status);
  if (trip.gone || failure.code === 'client_gone' || response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = renderError(failure, errorShapeOf(trip.path), trip.id);
  const all = parts.cors.onAnswer({ ...headers, ...ownHeaders(trip, parts) }, request.headers);
  if (failure.code === 'overloaded' || failure.code === 'no_upstream')
    all[HEADERS.queueLength] = String(parts.dispatch.queued);
  trip.bytesOut = Buffer.byteLength(body);
  const answer = { status, headers: all, body };
  if (trip.framing?.hasBody !== false && !request.complete) {
    sendEarlyRefusal(request, response, answer);
    return;
  }
  if (trip.framing === undefined || CLOSES.has(failure.code)) all.connection = 'close';
  sendAnswer(response, answer, request.method === 'HEAD');
}

/** After these it is not sure where the next request of the connection would begin. */
const CLOSES: ReadonlySet<ErrorCode> = new Set(['http_version_not_supported', 'headers_too_large']);

/** Logs and counts, once. */
function settle(
  trip: Trip,
  failure: ToonError | undefined,
  { metrics, stats, recent, log, now }: JourneyParts,
): void {
  const totalMs = now() - trip.startedAt;
  const code = failure?.code;
  const status = failure ? ERRORS[failure.code].status : trip.response.statusCode;
  const method = trip.request.method ?? '';
  const labels = { method: KNOWN_METHODS.has(method) ? method : 'other', route: trip.route.label };
  metrics.requests.inc({ ...labels, status: String(status) });
  metrics.duration.observe(labels, totalMs / 1000);
  if (code === 'overloaded' || code === 'no_upstream' || code === 'rate_limited')
    metrics.shed.inc({ reason: typeof failure?.cause === 'string' ? failure.cause : code });
  stats.note(now(), totalMs, status >= 500);
  if (trip.queueMs !== undefined) recent.note(now(), totalMs, trip.queueMs);
  writeAccessLine(
    log,
    {
      request_id: trip.id,
      method,
      path: trip.path,
      route: trip.route.label,
      client: trip.client,
      peer: trip.peer === trip.client ? undefined : trip.peer,
      key: trip.key,
      status,
      code,
      end: terminationOf(code, trip.gone, trip.phase),
      client_gone: trip.gone,
      bytes_in: trip.bytesIn,
      bytes_out: trip.bytesOut,
      style: trip.style,
      cache: trip.cache,
      queue_position: trip.queuePosition,
      priority: trip.priority === 'interactive' ? undefined : trip.priority,
      ms: {
        upload: trip.uploadMs,
        queue: trip.queueMs,
        connect: trip.connectMs,
        node: trip.nodeMs,
        total: totalMs,
      },
      attempts: trip.attempts,
    },
    failure?.cause,
    code !== undefined && code !== 'no_upstream' && ERRORS[code].alarm,
  );
}

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'DELETE', 'PATCH']);
