// A picture's way: upload → form → picture's header → queue → claim → forward → settle: replay or answer.
// Judges nothing itself that a pure module can judge; owns the order.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import { networkOf } from '../config/address.ts';
import { formatServerTiming, HEADERS, PATHS, parseServerTiming } from '../config/contract.ts';
import { ToonError } from '../config/errors.ts';
import {
  type ImageRequest,
  imageRequestQuery,
  normaliseStyle,
  readImageRequest,
} from '../config/image-request.ts';
import { checkPictureSize, type PictureKind, readPictureHeader } from '../config/picture.ts';
import { attemptLine } from './access-log.ts';
import { faultOfPicture, maxAnswerBytes, passedHeaders, type WholeAnswer } from './answer.ts';
import { sha256 } from './cache/key.ts';
import { workMegapixels } from './cost.ts';
import type { Dispatch, Ticket } from './dispatch.ts';
import { bodyKindOf, MULTIPART_OVERHEAD_BYTES, parseForm } from './form.ts';
import type { Attempt, Outcome } from './forward.ts';
import type { Head } from './head.ts';
import { NOWHERE } from './pick.ts';
import type { Claim, Pool, Upstream, Want } from './pool.ts';
import type { Priority } from './queue.ts';
import { afterAttempt, isKeepAliveRace } from './retry.ts';
import type { Lane } from './traffic/lane.ts';
import { forwardedHeaders, type JourneyParts, type Trip } from './trip.ts';
import { type Body, readUpload, type Upload } from './upload.ts';

/** A picture that was understood, ready for a worker. */
interface Drawing {
  readonly request: ImageRequest;
  /** The multipart field that held the picture. */
  readonly pictureField: string | undefined;
  /** Its bytes, and how to give back the memory that they take. */
  readonly picture: () => Promise<{ readonly picture: Buffer; readonly release: () => void }>;
  /** SHA-256 of its bytes, hex. */
  readonly photoDigest: () => string;
  readonly kind: PictureKind;
  readonly path: string;
  /** As {@link normaliseStyle} writes it; what costs are learnt and expected by. */
  readonly style: string | undefined;
  /** What a worker will draw, in megapixels. */
  readonly megapixels: number;
}

/** How many requests are between queue and answer, and how many of them are charged repetitions. */
export interface Load {
  active: number;
  retrying: number;
}

/** A picture's way. */
export async function draw(
  trip: Trip,
  head: Head,
  path: string,
  parts: JourneyParts,
  load: Load,
): Promise<WholeAnswer> {
  const { budget, cache, now } = parts;
  const lane = parts.traffic.laneFor(stickyKey(trip), trip.request.headers);
  const upload = takeUpload(trip, head, path, parts);
  try {
    trip.phase = 'upload';
    trip.onGone = upload.cancel;
    const body = await upload.body;
    trip.onGone = () => {};
    trip.uploadMs = now() - trip.startedAt;
    trip.bytesIn = body.length;
    const drawing = await understand(trip, head, path, body, parts);
    trip.style = drawing.request.style;
    const { priority } = head;
    const { request, photoDigest } = drawing;
    const wanted = { path, request, photoDigest, priority, lane };
    const answer = await cache.answer(trip, wanted, async (arrivedAt) => {
      load.active += 1;
      try {
        return await drawSomewhere(trip, drawing, priority, arrivedAt, lane, parts, load);
      } finally {
        load.active -= 1;
      }
    });
    if (trip.gone) throw new ToonError('client_gone');
    budget.count(answer.body.length);
    trip.response.once('close', () => budget.give(answer.body.length));
    return answer;
  } finally {
    upload.release();
  }
}

/** By its API key, else its address: a client's pictures all go to one release, so that a user does not see two styles of drawing in turns. */
function stickyKey({ key, client }: Trip): string {
  // An IPv6 client may change its address within its network at any time.
  return key ?? networkOf(client, { v4: 32, v6: 64 });
}

/** What a cheap picture costs, as a part of the average. */
const CHEAP = 0.5;

/** Begins to read the body, or refuses it unread. */
function takeUpload(
  trip: Trip,
  { priority }: Head,
  path: string,
  { settings, budget, spill, cache, pool, dispatch, costs }: JourneyParts,
): Upload {
  const { request, response, framing } = trip;
  const { limits, balancer } = settings;
  if (!framing?.hasBody) throw new ToonError('empty_image', { detail: 'The request has no body.' });
  const kind = bodyKindOf(path, request.headers['content-type']);
  // A picture that is kept takes no slot, and only its photo tells whether it is: then all this is judged behind it.
  if (!cache.mayAnswer(path, request.headers['cache-control'])) {
    if (!pool.usable() && !dispatch.paused)
      throw new ToonError('no_upstream', { retryAfterMs: balancer.check_interval * 2 });
    // Nobody knows yet how large the picture is: only what even a cheap one could not meet is refused unread.
    dispatch.judge({
      want: { style: undefined, priority, expectedMs: costs.average() * CHEAP, tried: NOWHERE },
      arrivedAt: trip.startedAt,
      deadlineAt: trip.deadlineAt,
    });
  }
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
    spill,
  );
  if (trip.awaitsContinue) response.writeContinue();
  return upload;
}

/** Judges a whole body, so that what cannot be drawn costs no slot. */
async function understand(
  { request }: Trip,
  head: Head,
  path: string,
  body: Body,
  { settings: { limits }, pool, budget }: JourneyParts,
): Promise<Drawing> {
  const parse = async () =>
    parseForm(path, bodyKindOf(path, request.headers['content-type']), await body.read(), limits.upload);
  const form = await parse();
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
  const megapixels = workMegapixels(header, imageRequest.maxSide);
  const drawing = {
    request: imageRequest,
    pictureField: form.pictureField,
    kind: header.kind,
    path,
    style: style && normaliseStyle(style),
    megapixels,
  };
  const { picture } = form;
  if (!body.spilled)
    return {
      ...drawing,
      photoDigest: () => sha256(picture),
      picture: async () => ({ picture, release() {} }),
    };
  // Nothing of it stays in memory: it is found again, the same way in the same bytes, when a worker has a slot for it.
  const digest = sha256(picture);
  return {
    ...drawing,
    photoDigest: () => digest,
    async picture() {
      budget.count(body.length);
      const release = () => budget.give(body.length);
      try {
        return { picture: (await parse()).picture, release };
      } catch (error) {
        release();
        throw error;
      }
    },
  };
}

/**
 * What dies seldom dies alone: workers of one machine or one `kill` go within milliseconds. For so long a lost picture
 * waits until the ends of their idle connections have been seen too; sent at once over one of these, it would be lost a
 * second time, be taken for a poison picture, and fail.
 */
const AFTER_DEATH_MS = 10;

/** Queue, claim, forward; again where the rules allow it; then the answer. */
async function drawSomewhere(
  trip: Trip,
  drawing: Drawing,
  priority: Priority,
  joinedAt: number,
  lane: () => Lane,
  parts: JourneyParts,
  load: Load,
): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
  const { dispatch, pool, costs, now, metrics } = parts;
  const query = imageRequestQuery(drawing.request).toString();
  const tried = { upstreams: new Set<string>(), nodes: new Set<string>() };
  const { style, megapixels } = drawing;
  const want: Want = { style, priority, expectedMs: costs.expect(style, megapixels), tried, lane };
  const history = { deaths: 0, charged: 0, attempts: 0 };
  let returning = false;
  let charged = false;
  // What it waited behind an equal picture of somebody else, who then failed, was waiting too.
  trip.queueMs = now() - joinedAt;
  try {
    while (true) {
      const claim = await takeSlot(
        trip,
        { want, arrivedAt: joinedAt, deadlineAt: trip.deadlineAt, returning },
        parts,
      );
      const { upstream } = claim;
      trip.phase = 'node';
      history.attempts += 1;
      const outcome = await carry(trip, drawing, query, claim, history.attempts, parts);
      const leftMs = trip.deadlineAt - now();
      const verdict = afterAttempt(outcome, history, load, leftMs);
      // A picture that is drawn may be of use to others, also when this client no longer wants it.
      if (trip.gone && verdict.kind !== 'settle') throw new ToonError('client_gone');
      switch (verdict.kind) {
        case 'settle':
          if (outcome.kind !== 'answer') throw new ToonError('internal_error');
          return pictureAnswer(trip, outcome, upstream.release, now());
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
          if (verdict.death) {
            await sleep(AFTER_DEATH_MS);
            // Behind the input of this turn: a late timer comes before what is waiting to be read.
            await nextTurn();
          }
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
  trip.phase = 'queue';
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

/** One attempt on one claimed slot, with the picture's bytes in memory meanwhile. */
async function carry(
  trip: Trip,
  drawing: Drawing,
  query: string,
  claim: Claim,
  attempt: number,
  parts: JourneyParts,
): Promise<Outcome> {
  const { picture, release } = await drawing.picture().catch((error: unknown) => {
    claim.release();
    throw error;
  });
  try {
    return await carryPicture(trip, drawing, picture, query, claim, attempt, parts);
  } finally {
    release();
  }
}

/** A keep-alive race is repeated on a fresh connection while the slot is held. */
async function carryPicture(
  trip: Trip,
  drawing: Drawing,
  picture: Buffer,
  query: string,
  claim: Claim,
  attempt: number,
  parts: JourneyParts,
): Promise<Outcome> {
  const { forwarder, now, settings, pool } = parts;
  let freedAt: number | undefined;
  let connectMs: number | undefined;
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
        ...(drawing.path === PATHS.upload && drawing.pictureField !== undefined
          ? { [HEADERS.uploadField]: drawing.pictureField }
          : {}),
      },
      body: picture,
      patienceMs: leftMs,
      maxAnswerBytes: maxAnswerBytes(settings.limits.max_side),
      fresh,
      onSlotFree,
    });
    const forget = claim.onDeath(exchange.cut);
    try {
      return await exchange.outcome;
    } finally {
      connectMs = exchange.connectMs();
      forget();
    }
  };

  // Told by 102, the slot goes back at once. At the end of an exchange it goes back too, unless that end looks like a
  // keep-alive race: then it stays in our hand for the repetition.
  let ended = false;
  let judged = false;
  let outcome = await send(false, (why) => {
    ended = true;
    freedAt = now();
    if (why === 'told' || judged) claim.release();
  });
  if (isKeepAliveRace(outcome) && upstream.state.kind !== 'ejected' && !trip.gone) {
    const first = outcome;
    outcome = await send(true, () => claim.release());
    freedAt = undefined;
    // Nobody listens there any more: it was no race, the worker died with the picture in its hands.
    if (outcome.kind === 'lost' && outcome.phase === 'connect') outcome = first;
  } else {
    judged = true;
    if (ended) claim.release();
  }
  outcome = looked(outcome);
  trip.nodeMs = (trip.nodeMs ?? 0) + (now() - from);
  if (connectMs !== undefined) trip.connectMs = (trip.connectMs ?? 0) + connectMs;
  trip.attempts.push(attemptLine(upstream, outcome, connectMs, now() - from));
  // Before the loss is told: the caps count those that are healthy by their checks, and this one was.
  const end = endOf(outcome, now() - from, drawing, parts);
  if (end !== undefined) noteRelease(upstream, end, outcome, now() - from, drawing, parts);
  if (end !== undefined) pool.noteWork(upstream.id, end);
  if (outcome.kind === 'lost')
    pool.tell(upstream.id, { kind: outcome.phase === 'connect' ? 'refused' : 'lost' });
  if (outcome.kind === 'answer') {
    learnNode(upstream, outcome, pool);
    if (outcome.status === 200 && freedAt !== undefined)
      learn(upstream, drawing, freedAt - from, now() - from, parts);
  }
  return outcome;
}

/** An answer, looked into: a picture that cannot be one is rubbish, and never passed on. */
function looked(outcome: Outcome): Outcome {
  if (outcome.kind !== 'answer' || outcome.status !== 200) return outcome;
  const why = faultOfPicture(outcome.headers, outcome.body);
  return why === undefined ? outcome : { kind: 'rubbish', why };
}

/** An overrun deadline is the worker's fault only when it had so many times what such pictures take. */
const AMPLE = 3;

/** What an attempt says of its worker; undefined when it says nothing. */
function endOf(
  outcome: Outcome,
  tookMs: number,
  { style, megapixels }: Drawing,
  { costs }: JourneyParts,
): 'success' | 'fault' | undefined {
  switch (outcome.kind) {
    case 'answer':
      return outcome.status === 500 || outcome.status === 502 ? 'fault' : 'success';
    case 'rubbish':
      return 'fault';
    case 'lost':
      // Nobody listened there: that is for the checks to judge.
      return outcome.phase === 'connect' ? undefined : 'fault';
    case 'timeout':
      return tookMs >= AMPLE * costs.expect(style, megapixels) ? 'fault' : undefined;
    case 'busy':
    case 'draining':
      return undefined;
  }
}

/**
 * A slot was kept for so long by a picture: that is what such pictures cost, and how fast this worker is. Its answer took
 * longer: that is how late answers come.
 */
function learn(
  upstream: Upstream,
  { style, megapixels }: Drawing,
  keptMs: number,
  answeredMs: number,
  { costs, pool, punctuality }: JourneyParts,
): void {
  const expectedMs = costs.expect(style, megapixels);
  punctuality.noteAnswer(answeredMs - expectedMs);
  pool.learnPace(upstream.id, keptMs, expectedMs);
  costs.learn(style, megapixels, keptMs);
}

/** How an attempt ended, for whoever watches a canary. */
function noteRelease(
  { release }: Upstream,
  end: 'success' | 'fault',
  outcome: Outcome,
  tookMs: number,
  { style, megapixels }: Drawing,
  { costs, traffic }: JourneyParts,
): void {
  const expectedMs = costs.expect(style, megapixels);
  const drew = outcome.kind === 'answer' && outcome.status === 200 && expectedMs > 0;
  traffic.note({ release, end, pace: drew ? tookMs / expectedMs : undefined });
}

function learnNode(upstream: Upstream, outcome: Outcome & { kind: 'answer' }, pool: Pool): void {
  const node = outcome.headers[HEADERS.node];
  if (typeof node === 'string' && node !== upstream.node) pool.learnNode(upstream.id, node);
}

function pictureAnswer(
  trip: Trip,
  { status, headers, body }: Outcome & { kind: 'answer' },
  release: string | undefined,
  now: number,
): { status: number; headers: Record<string, string>; body: Buffer } {
  const passed = passedHeaders(headers);
  if (release !== undefined) passed[HEADERS.release] = release;
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
