// A request's way, top to bottom: head → upload → form → picture's header → queue → claim → forward → settle: replay or
// answer. Judges nothing itself that a pure module can judge; owns the order, and that each request gets one answer.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  FORWARDED_REQUEST_HEADERS,
  formatServerTiming,
  HEADERS,
  isRequestId,
  nodeOfResult,
  PATHS,
  parseServerTiming,
} from '../config/contract.ts';
import {
  ERRORS,
  type ErrorCode,
  errorShapeOf,
  renderError,
  ToonError,
  toToonError,
} from '../config/errors.ts';
import { type ImageRequest, imageRequestQuery, readImageRequest } from '../config/image-request.ts';
import type { LoadedSettings } from '../config/load.ts';
import { checkPictureSize, type PictureKind, readPictureHeader } from '../config/picture.ts';
import type { Log } from '../ops/process/log.ts';
import type { BalancerMetrics } from '../ops/process/metrics.ts';
import type { Site } from '../ops/process/site.ts';
import { type AttemptLine, writeAccessLine } from './access-log.ts';
import { passedHeaders, sendAnswer, sendEarlyRefusal, type WholeAnswer } from './answer.ts';
import type { BufferBudget } from './budget.ts';
import type { Dispatch, Ticket } from './dispatch.ts';
import { bodyKindOf, type Form, MULTIPART_OVERHEAD_BYTES, parseForm } from './form.ts';
import type { Attempt, Forwarder, Outcome } from './forward.ts';
import {
  allowOf,
  type Framing,
  type Head,
  judgeFraming,
  judgeHead,
  type Route,
  routeOf,
  splitTarget,
} from './head.ts';
import type { Claim, Pool, Upstream, Want } from './pool.ts';
import { afterAttempt, isKeepAliveRace } from './retry.ts';
import type { Stats } from './stats.ts';
import { readUpload, type Upload } from './upload.ts';

export interface JourneyParts {
  readonly settings: Pick<LoadedSettings, 'limits' | 'balancer' | 'node'>;
  readonly version: string;
  readonly pool: Pool;
  readonly dispatch: Dispatch;
  readonly forwarder: Forwarder;
  readonly budget: BufferBudget;
  readonly site: Pick<Site, 'owns' | 'answer'>;
  readonly metrics: BalancerMetrics;
  readonly stats: Stats;
  readonly log: Log;
  /** Whether this balancer is being taken out of service. */
  readonly draining: () => boolean;
  readonly now: () => number;
}

/** What one request has with it on its way. */
interface Trip {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The client waits for "100 Continue" before it sends its body. */
  readonly awaitsContinue: boolean;
  readonly startedAt: number;
  readonly id: string;
  readonly path: string;
  route: Route;
  /** Undefined while it is not judged, and for ever when it cannot be trusted: then the connection is closed. */
  framing: Framing | undefined;
  deadlineAt: number;
  /** The client went away before its answer was written. */
  gone: boolean;
  /** What has to happen at once when it does. */
  onGone: () => void;
  bytesIn: number;
  bytesOut: number;
  style: string | undefined;
  uploadMs: number | undefined;
  queueMs: number | undefined;
  nodeMs: number | undefined;
  readonly attempts: AttemptLine[];
}

/** A picture that was understood, ready for a worker. */
interface Drawing {
  readonly request: ImageRequest;
  readonly form: Form;
  readonly kind: PictureKind;
  readonly path: string;
}

/** How many requests are between queue and answer, and how many of them are charged repetitions. */
interface Load {
  active: number;
  retrying: number;
}

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
  { now, settings }: JourneyParts,
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
    route: routeOf(path),
    framing: undefined,
    deadlineAt: startedAt + settings.balancer.deadline,
    gone: false,
    onGone: () => {},
    bytesIn: 0,
    bytesOut: 0,
    style: undefined,
    uploadMs: undefined,
    queueMs: undefined,
    nodeMs: undefined,
    attempts: [],
  };
  response.on('error', () => {});
  response.once('close', () => {
    if (response.writableFinished) return;
    trip.gone = true;
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
  if (head.patienceMs !== undefined) trip.deadlineAt = trip.startedAt + head.patienceMs;
  if (raw.method === 'OPTIONS')
    return { status: 204, headers: { allow: allowOf(head.route).join(', ') }, body: '' };
  const { route } = head;
  switch (route.kind) {
    case 'draw':
      return draw(trip, head, route.path, parts, load);
    case 'result':
      return fetchResult(trip, route.id, parts);
    case 'styles':
      return styles(parts);
    case 'health':
      return health(parts);
    case 'ready':
      return ready(parts);
    case 'live':
      return json(200, { status: 'live' });
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

/** A picture's way. */
async function draw(
  trip: Trip,
  head: Head,
  path: string,
  parts: JourneyParts,
  load: Load,
): Promise<WholeAnswer> {
  const { budget, now } = parts;
  const upload = takeUpload(trip, path, parts);
  try {
    trip.onGone = upload.cancel;
    const body = await upload.body;
    trip.onGone = () => {};
    trip.uploadMs = now() - trip.startedAt;
    trip.bytesIn = body.length;
    const drawing = understand(trip, head, path, body, parts);
    trip.style = drawing.request.style;
    load.active += 1;
    try {
      const answer = await drawSomewhere(trip, drawing, parts, load);
      budget.count(answer.body.length);
      trip.response.once('close', () => budget.give(answer.body.length));
      return answer;
    } finally {
      load.active -= 1;
    }
  } finally {
    upload.release();
  }
}

/** Begins to read the body, or refuses it unread. */
function takeUpload(trip: Trip, path: string, { settings, budget, pool }: JourneyParts): Upload {
  const { request, response, framing } = trip;
  const { limits, balancer } = settings;
  if (!framing?.hasBody) throw new ToonError('empty_image', { detail: 'The request has no body.' });
  const kind = bodyKindOf(path, request.headers['content-type']);
  if (!pool.usable()) throw new ToonError('no_upstream', { retryAfterMs: balancer.check_interval * 2 });
  const maxBytes =
    kind.kind === 'json'
      ? limits.json
      : kind.kind === 'multipart'
        ? limits.upload + MULTIPART_OVERHEAD_BYTES
        : limits.upload;
  const upload = readUpload(
    request,
    framing.contentLength,
    {
      maxBytes,
      minRate: balancer.upload_min_rate,
      timeoutMs: Math.min(balancer.upload_timeout, trip.deadlineAt - trip.startedAt),
    },
    budget,
  );
  if (trip.awaitsContinue) response.writeContinue();
  return upload;
}

/** Judges a whole body, so that what cannot be drawn costs no slot. */
function understand(
  { request }: Trip,
  head: Head,
  path: string,
  body: Buffer,
  { settings: { limits }, pool }: JourneyParts,
): Drawing {
  const form = parseForm(path, bodyKindOf(path, request.headers['content-type']), body, limits.upload);
  const imageRequest = readImageRequest(
    {
      path,
      query: new URLSearchParams(head.query),
      fields: form.fields,
      pictureField: form.pictureField,
      accept: request.headers.accept,
    },
    limits,
  );
  const { style } = imageRequest;
  if (style !== undefined && pool.cannotDraw(style)) {
    const names = pool.styles().map(({ id }) => id);
    throw new ToonError('unknown_style', {
      detail: `There is no style "${style.slice(0, 60)}"; there are: ${names.join(', ')}.`,
      extra: { styles: names },
    });
  }
  const header = readPictureHeader(form.picture);
  checkPictureSize(header, limits.pixels);
  return { request: imageRequest, form, kind: header.kind, path };
}

/** Queue, claim, forward; again where the rules allow it; then the answer. */
async function drawSomewhere(
  trip: Trip,
  drawing: Drawing,
  parts: JourneyParts,
  load: Load,
): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
  const { dispatch, pool, now, metrics } = parts;
  const query = imageRequestQuery(drawing.request).toString();
  const tried = { upstreams: new Set<string>(), nodes: new Set<string>() };
  const want: Want = { style: drawing.request.style, tried };
  const history = { deaths: 0, charged: 0, attempts: 0 };
  const joinedAt = now();
  let returning = false;
  let charged = false;
  trip.queueMs = 0;
  try {
    while (true) {
      const claim = await takeSlot(
        trip,
        { want, arrivedAt: joinedAt, deadlineAt: trip.deadlineAt, returning },
        parts,
      );
      const { upstream } = claim;
      history.attempts += 1;
      const outcome = await carry(trip, drawing, query, claim, history.attempts, parts);
      const leftMs = trip.deadlineAt - now();
      const verdict = afterAttempt(outcome, history, load, leftMs);
      if (trip.gone) throw new ToonError('client_gone');
      switch (verdict.kind) {
        case 'settle':
          if (outcome.kind !== 'answer') throw new ToonError('internal_error');
          return pictureAnswer(trip, outcome, now());
        case 'return':
          // Not a failure and not an attempt: it goes back to its place in the line.
          history.attempts -= 1;
          if (verdict.why === 'busy') dispatch.stirAt(pool.hold(upstream.id));
          else pool.tell(upstream.id, { kind: 'leaving' });
          returning = true;
          break;
        case 'replay':
          metrics.retries.inc({ reason: verdict.reason });
          tried.upstreams.add(upstream.id);
          if (upstream.node !== undefined) tried.nodes.add(upstream.node);
          if (verdict.death) history.deaths += 1;
          if (verdict.charged) {
            history.charged += 1;
            if (!charged) load.retrying += 1;
            charged = true;
          }
          returning = true;
          break;
        case 'fail':
          throw new ToonError(verdict.code, {}, { cause: outcome });
      }
    }
  } finally {
    if (charged) load.retrying -= 1;
  }
}

/** Waits for a slot; the wait is noted, and a client that leaves leaves the line. */
async function takeSlot(
  trip: Trip,
  entrant: Parameters<Dispatch['enter']>[0],
  { dispatch, now, metrics }: JourneyParts,
): Promise<Claim> {
  const from = now();
  if (trip.gone) throw new ToonError('client_gone');
  const ticket: Ticket = dispatch.enter(entrant);
  trip.onGone = ticket.leave;
  try {
    const claim = await ticket.claim;
    if (trip.gone) {
      claim.release();
      throw new ToonError('client_gone');
    }
    return claim;
  } finally {
    trip.onGone = () => {};
    const waited = now() - from;
    trip.queueMs = (trip.queueMs ?? 0) + waited;
    metrics.queueWait.observe(waited / 1000);
  }
}

/** One attempt on one claimed slot; a keep-alive race is repeated on a fresh connection while the slot is held. */
async function carry(
  trip: Trip,
  drawing: Drawing,
  query: string,
  claim: Claim,
  attempt: number,
  parts: JourneyParts,
): Promise<Outcome> {
  const { forwarder, now, settings, pool } = parts;
  const { upstream } = claim;
  const from = now();
  const send = async (fresh: boolean, onSlotFree: Attempt['onSlotFree']): Promise<Outcome> => {
    const leftMs = Math.max(1, trip.deadlineAt - now());
    const exchange = forwarder.send({
      target: upstream.target,
      method: 'POST',
      path: `${drawing.path}?${query}`,
      headers: {
        ...forwardedHeaders(trip, settings.node.key),
        'content-type': `image/${drawing.kind}`,
        [HEADERS.attempt]: String(attempt),
        [HEADERS.deadlineMs]: String(Math.ceil(leftMs)),
        ...(drawing.path === PATHS.upload && drawing.form.pictureField !== undefined
          ? { [HEADERS.uploadField]: drawing.form.pictureField }
          : {}),
      },
      body: drawing.form.picture,
      patienceMs: leftMs,
      maxAnswerBytes: maxAnswerBytes(settings.limits.max_side),
      fresh,
      onSlotFree,
    });
    const forget = claim.onDeath(exchange.cut);
    try {
      return await exchange.outcome;
    } finally {
      forget();
    }
  };

  // Told by 102, the slot goes back at once. At the end of an exchange it goes back too, unless that end looks like a
  // keep-alive race: then it stays in our hand for the repetition.
  let ended = false;
  let judged = false;
  let outcome = await send(false, (why) => {
    ended = true;
    if (why === 'told' || judged) claim.release();
  });
  if (isKeepAliveRace(outcome) && upstream.state.kind !== 'ejected' && !trip.gone) {
    const first = outcome;
    outcome = await send(true, () => claim.release());
    // Nobody listens there any more: it was no race, the worker died with the picture in its hands.
    if (outcome.kind === 'lost' && outcome.phase === 'connect') outcome = first;
  } else {
    judged = true;
    if (ended) claim.release();
  }
  trip.nodeMs = (trip.nodeMs ?? 0) + (now() - from);
  trip.attempts.push({
    upstream: upstream.id,
    node: upstream.node,
    end: outcome.kind === 'lost' ? `lost:${outcome.phase}` : outcome.kind,
    ms: now() - from,
  });
  if (outcome.kind === 'lost')
    pool.tell(upstream.id, { kind: outcome.phase === 'connect' ? 'refused' : 'lost' });
  if (outcome.kind === 'answer') learnNode(upstream, outcome, pool);
  return outcome;
}

function learnNode(upstream: Upstream, outcome: Outcome & { kind: 'answer' }, pool: Pool): void {
  const node = outcome.headers[HEADERS.node];
  if (typeof node === 'string' && node !== upstream.node) pool.learnNode(upstream.id, node);
}

/** A PNG of the largest side, as base64 in JSON, with room for the rest. */
function maxAnswerBytes(maxSide: number): number {
  return Math.ceil((maxSide * maxSide * 4 * 4) / 3) + 1024 * 1024;
}

/** What of a client's headers may go to a worker, with our own beside it. */
function forwardedHeaders(trip: Trip, nodeKey: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of FORWARDED_REQUEST_HEADERS) {
    const value = trip.request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  headers[HEADERS.requestId] = trip.id;
  if (nodeKey !== undefined) headers[HEADERS.nodeKey] = nodeKey;
  return headers;
}

function pictureAnswer(
  trip: Trip,
  { status, headers, body }: Outcome & { kind: 'answer' },
  now: number,
): { status: number; headers: Record<string, string>; body: Buffer } {
  const passed = passedHeaders(headers);
  const timing = headers[HEADERS.serverTiming];
  const { decode, infer, encode } = parseServerTiming(typeof timing === 'string' ? timing : undefined);
  passed[HEADERS.serverTiming] = formatServerTiming({
    upload: trip.uploadMs,
    queue: trip.queueMs,
    decode,
    infer,
    encode,
    total: now - trip.startedAt,
  });
  return { status, headers: passed, body };
}

/** A stored result, from any worker of the node in its id. Takes no slot. */
async function fetchResult(trip: Trip, id: string, parts: JourneyParts): Promise<WholeAnswer> {
  const { pool, forwarder, now, settings } = parts;
  const node = nodeOfResult(id);
  const upstreams = node === undefined ? [] : pool.ofNode(node);
  if (upstreams.length === 0) throw new ToonError('not_found');
  let last: Outcome | undefined;
  for (const upstream of upstreams.slice(0, 3)) {
    const from = now();
    const { outcome } = forwarder.send({
      target: upstream.target,
      method: trip.request.method === 'HEAD' ? 'HEAD' : 'GET',
      path: `${PATHS.results}/${id}`,
      headers: forwardedHeaders(trip, settings.node.key),
      body: undefined,
      patienceMs: Math.max(1, trip.deadlineAt - from),
      maxAnswerBytes: maxAnswerBytes(settings.limits.max_side),
      fresh: false,
      onSlotFree: () => {},
    });
    last = await outcome;
    trip.attempts.push({
      upstream: upstream.id,
      node: upstream.node,
      end: last.kind === 'lost' ? `lost:${last.phase}` : last.kind,
      ms: now() - from,
    });
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

function styles({ pool, settings }: JourneyParts): WholeAnswer {
  const list = pool.styles();
  if (list.length === 0)
    throw new ToonError('no_upstream', { retryAfterMs: settings.balancer.check_interval * 2 });
  return json(200, { styles: list }, { 'cache-control': 'no-cache' });
}

function health({ pool, version, settings }: JourneyParts): WholeAnswer {
  const loaded = pool.usable();
  return json(loaded ? 200 : 503, {
    status: loaded ? 'healthy' : 'unhealthy',
    model_loaded: loaded,
    node: settings.node.name,
    version,
  });
}

function ready({ pool, draining, settings }: JourneyParts): WholeAnswer {
  const status = draining() ? 'draining' : pool.usable() ? 'ready' : 'loading';
  return json(status === 'ready' ? 200 : 503, { status, node: settings.node.name });
}

function json(status: number, body: object, headers: Record<string, string> = {}): WholeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify(body),
  };
}

/** Headers of ours on every answer. */
function ownHeaders(trip: Trip, draining: boolean): Record<string, string> {
  const headers: Record<string, string> = { [HEADERS.requestId]: trip.id };
  const { traceparent } = trip.request.headers;
  if (typeof traceparent === 'string') headers[HEADERS.traceparent] = traceparent;
  // A connection that stays open would keep the old process's port busy.
  if (draining) headers.connection = 'close';
  return headers;
}

function write(trip: Trip, answer: WholeAnswer, { draining }: JourneyParts): void {
  const { request, response } = trip;
  const headers = { ...answer.headers, ...ownHeaders(trip, draining()) };
  trip.bytesOut = answer.body.length;
  // A body that nobody asked for, such as with GET: answered, but not read to its end.
  if (trip.framing?.hasBody && !request.complete)
    sendEarlyRefusal(request, response, { status: answer.status, headers, body: answer.body });
  else sendAnswer(response, { status: answer.status, headers, body: answer.body }, request.method === 'HEAD');
}

function refuse(trip: Trip, failure: ToonError, { draining, dispatch }: JourneyParts): void {
  const { request, response } = trip;
  if (trip.gone || failure.code === 'client_gone' || response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = renderError(failure, errorShapeOf(trip.path), trip.id);
  const all = { ...headers, ...ownHeaders(trip, draining()) };
  if (failure.code === 'overloaded' || failure.code === 'no_upstream')
    all[HEADERS.queueLength] = String(dispatch.queued);
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
  { metrics, stats, log, now }: JourneyParts,
): void {
  const totalMs = now() - trip.startedAt;
  const code = failure?.code;
  const status = failure ? ERRORS[failure.code].status : trip.response.statusCode;
  const method = trip.request.method ?? '';
  const labels = { method: KNOWN_METHODS.has(method) ? method : 'other', route: trip.route.label };
  metrics.requests.inc({ ...labels, status: String(status) });
  metrics.duration.observe(labels, totalMs / 1000);
  if (code === 'overloaded' || code === 'no_upstream' || code === 'rate_limited')
    metrics.shed.inc({ reason: code });
  stats.note(now(), totalMs, status >= 500);
  writeAccessLine(
    log,
    {
      request_id: trip.id,
      method,
      path: trip.path,
      route: trip.route.label,
      client: trip.request.socket.remoteAddress,
      status,
      code,
      client_gone: trip.gone,
      bytes_in: trip.bytesIn,
      bytes_out: trip.bytesOut,
      style: trip.style,
      ms: { upload: trip.uploadMs, queue: trip.queueMs, node: trip.nodeMs, total: totalMs },
      attempts: trip.attempts,
    },
    failure?.cause,
    code !== undefined && code !== 'no_upstream' && ERRORS[code].alarm,
  );
}

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'DELETE', 'PATCH']);
