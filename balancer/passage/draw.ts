// A picture's way: upload → form → picture's header → queue → claim → forward → settle: replay or answer.
// Judges nothing itself that a pure module can judge; owns the order.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import { networkOf } from '../../config/address.ts';
import { formatServerTiming, HEADERS, parseServerTiming } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { imageRequestQuery } from '../../config/image-request.ts';
import type { Claim, Want } from '../fleet/pool.ts';
import type { Dispatch, Ticket } from '../schedule/dispatch.ts';
import { NOWHERE } from '../schedule/pick.ts';
import type { Priority } from '../schedule/queue.ts';
import type { Lane } from '../traffic/lane.ts';
import { passedHeaders, type WholeAnswer } from './answer.ts';
import { carry } from './attempt.ts';
import { type Drawing, understand } from './drawing.ts';
import { bodyKindOf, MULTIPART_OVERHEAD_BYTES } from './form.ts';
import type { Outcome } from './forward.ts';
import type { Head } from './head.ts';
import { afterAttempt } from './retry.ts';
import type { JourneyParts, Trip } from './trip.ts';
import { readUpload, type Upload } from './upload.ts';

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
  { priority, query }: Head,
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
    // Nobody knows yet how large the picture is: only what even a cheap one could not meet is refused unread. A worker
    // that may draw as small as it likes needs hardly any time.
    const leastMs = new URLSearchParams(query).get('effort') === 'auto' ? 0 : undefined;
    dispatch.judge({
      want: { style: undefined, priority, expectedMs: costs.average() * CHEAP, leastMs, tried: NOWHERE },
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
  const { dispatch, pool, now, metrics } = parts;
  const query = imageRequestQuery(drawing.request).toString();
  const tried = { upstreams: new Set<string>(), nodes: new Set<string>() };
  const want: Want = { style: drawing.style, priority, ...workOf(trip, drawing, parts), tried, lane };
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

/** How long a picture will keep a slot, and how little that may become where its worker may draw it smaller. */
function workOf(
  { deadlineAt }: Trip,
  { style, megapixels, leastSide }: Drawing,
  { costs, now }: JourneyParts,
): Pick<Want, 'expectedMs' | 'leastMs'> {
  const fullMs = costs.expect(style, megapixels());
  if (leastSide === undefined) return { expectedMs: fullMs };
  const leastMs = Math.min(fullMs, costs.expect(style, megapixels(leastSide)));
  // Its worker takes no longer than there is time for: nobody behind it has to reckon with more.
  return { expectedMs: Math.min(fullMs, Math.max(leastMs, deadlineAt - now())), leastMs };
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
  trip.queuePosition ??= ticket.position;
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
