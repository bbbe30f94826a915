// One attempt to have a picture drawn by one claimed worker, and what it teaches: of the worker, of costs, of a release.
// Whether there is another attempt is not its business.

import { HEADERS, PATHS } from '../../config/contract.ts';
import { readEffort } from '../../config/effort.ts';
import type { Claim, Pool, Upstream } from '../fleet/pool.ts';
import { attemptLine } from './access-log.ts';
import { faultOfPicture, maxAnswerBytes } from './answer.ts';
import type { Drawing } from './drawing.ts';
import type { Attempt, Outcome } from './forward.ts';
import { isKeepAliveRace } from './retry.ts';
import { forwardedHeaders, type JourneyParts, type Trip } from './trip.ts';
import { wasteOf } from './waste.ts';

/** One attempt on one claimed slot, with the picture's bytes in memory meanwhile. */
export async function carry(
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
  const account = wasteAccount(trip, drawing, parts);
  let outcome = await send(false, (why) => {
    ended = true;
    freedAt = now();
    account.slotKept(freedAt - from);
    if (why === 'told' || judged) claim.release();
  });
  if (isKeepAliveRace(outcome) && upstream.state.kind !== 'ejected' && !trip.gone) {
    const first = outcome;
    outcome = await send(true, () => {
      account.slotKept(now() - from);
      claim.release();
    });
    freedAt = undefined;
    // Nobody listens there any more: it was no race, the worker died with the picture in its hands.
    if (outcome.kind === 'lost' && outcome.phase === 'connect') outcome = first;
  } else {
    judged = true;
    if (ended) claim.release();
  }
  outcome = looked(outcome);
  account.settled(outcome);
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
    const megapixels = drawnMegapixels(outcome, drawing);
    if (outcome.status === 200 && freedAt !== undefined && megapixels !== undefined)
      learn(upstream, { style: drawing.style, megapixels }, freedAt - from, now() - from, parts);
  }
  return outcome;
}

/** Counts what an attempt wasted, once both are known: how it ended, and for how long its slot was kept. */
function wasteAccount(
  trip: Trip,
  { path }: Drawing,
  { metrics, cache }: JourneyParts,
): { slotKept(ms: number): void; settled(outcome: Outcome): void } {
  let keptMs: number | undefined;
  let settled: Outcome | undefined;
  const count = () => {
    if (keptMs === undefined || settled === undefined) return;
    // The cache keeps what was drawn, and others may be waiting for it.
    const isStillWanted = !trip.gone || cache.mayAnswer(path, trip.request.headers['cache-control']);
    const reason = wasteOf(settled, isStillWanted);
    if (reason !== undefined) metrics.wasted.inc({ reason }, keptMs / 1000);
  };
  return {
    slotKept(ms) {
      keptMs = ms;
      count();
    },
    settled(outcome) {
      settled = outcome;
      count();
    },
  };
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
      return tookMs >= AMPLE * costs.expect(style, megapixels()) ? 'fault' : undefined;
    case 'busy':
    case 'draining':
      return undefined;
  }
}

/** What a worker really drew, in megapixels; undefined when it drew another style, whose costs these are not. */
function drawnMegapixels({ headers }: Outcome & { kind: 'answer' }, drawing: Drawing): number | undefined {
  const said = headers[HEADERS.effort];
  const { side, style } = readEffort(typeof said === 'string' ? said : undefined);
  return style === undefined ? drawing.megapixels(side) : undefined;
}

/**
 * A slot was kept for so long by a picture: that is what such pictures cost, and how fast this worker is. Its answer took
 * longer: that is how late answers come.
 */
function learn(
  upstream: Upstream,
  { style, megapixels }: { readonly style: string | undefined; readonly megapixels: number },
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
  drawing: Drawing,
  { costs, traffic }: JourneyParts,
): void {
  const drew = outcome.kind === 'answer' && outcome.status === 200;
  const megapixels = drew ? drawnMegapixels(outcome, drawing) : undefined;
  const expectedMs = megapixels === undefined ? 0 : costs.expect(drawing.style, megapixels);
  traffic.note({ release, end, pace: expectedMs > 0 ? tookMs / expectedMs : undefined });
}

function learnNode(upstream: Upstream, outcome: Outcome & { kind: 'answer' }, pool: Pool): void {
  const node = outcome.headers[HEADERS.node];
  if (typeof node === 'string' && node !== upstream.node) pool.learnNode(upstream.id, node);
}
