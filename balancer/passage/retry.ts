// May this attempt be repeated? Pure. Decides from how the attempt ended and what the request has behind it.
// Inference is pure, so a repetition is always safe; the rules protect the fleet from poison pictures and from storms.

import type { Outcome } from './forward.ts';

/** What a request has behind it. */
export interface History {
  /** Workers that were lost while they had this picture. */
  readonly deaths: number;
  /** Repetitions that were charged to the budget. */
  readonly charged: number;
  /** Attempts of any kind. */
  readonly attempts: number;
}

/** The fleet's repetitions at this moment. */
export interface RetryLoad {
  /** Requests between queue and answer. */
  readonly active: number;
  /** Those of them that are charged repetitions. */
  readonly retrying: number;
}

/** Why an attempt is made again; also a label of `toonfleet_retries_total`. */
export type RetryReason = 'connect' | 'lost' | 'rubbish' | 'error_answer';

export type RetryVerdict =
  /** Pass the answer on. */
  | { readonly kind: 'settle' }
  /** The worker did not take it: back to its place in line, as if it had never left. */
  | { readonly kind: 'return'; readonly why: 'busy' | 'draining' }
  /** Try again elsewhere. */
  | {
      readonly kind: 'replay';
      readonly reason: RetryReason;
      readonly charged: boolean;
      readonly death: boolean;
    }
  /** Give up. */
  | { readonly kind: 'fail'; readonly code: 'upstream_failed' | 'deadline_exceeded' };

/** A request whose worker died while running it is replayed once, so that a poison picture does not kill the fleet. */
export const MAX_DEATHS = 1;
/** Of the active requests, how many may be charged repetitions at once; and how many always may. */
const BUDGET_SHARE = 0.2;
const BUDGET_LEAST = 3;
/** One request may be charged this often. */
const MAX_CHARGED = 2;
/** No request is tried more often than this, whatever the reasons. */
export const MAX_ATTEMPTS = 8;

/** Error answers that another worker may do better. 501 and 504 are judgements, 503 and 507 are told by the worker. */
const WORTH_ANOTHER_TRY = new Set([500, 502]);

/** What to do after one attempt. `leftMs` is what is left of the deadline. */
export function afterAttempt(
  outcome: Outcome,
  history: History,
  load: RetryLoad,
  leftMs: number,
): RetryVerdict {
  const charge = (reason: RetryReason): RetryVerdict =>
    leftMs > 0 && history.charged < MAX_CHARGED && withinBudget(load) && history.attempts < MAX_ATTEMPTS
      ? { kind: 'replay', reason, charged: true, death: false }
      : { kind: 'fail', code: leftMs > 0 ? 'upstream_failed' : 'deadline_exceeded' };

  switch (outcome.kind) {
    case 'answer':
      if (!WORTH_ANOTHER_TRY.has(outcome.status)) return { kind: 'settle' };
      return charge('error_answer');
    case 'busy':
    case 'draining':
      return { kind: 'return', why: outcome.kind };
    case 'timeout':
      return { kind: 'fail', code: 'deadline_exceeded' };
    case 'rubbish':
      return charge('rubbish');
    case 'lost': {
      if (leftMs <= 0) return { kind: 'fail', code: 'deadline_exceeded' };
      if (history.attempts >= MAX_ATTEMPTS) return { kind: 'fail', code: 'upstream_failed' };
      // Never received, so it cannot be this picture's fault.
      if (outcome.phase === 'connect')
        return { kind: 'replay', reason: 'connect', charged: false, death: false };
      return history.deaths < MAX_DEATHS
        ? { kind: 'replay', reason: 'lost', charged: false, death: true }
        : { kind: 'fail', code: 'upstream_failed' };
    }
  }
}

/** Whether one more charged repetition fits: a fifth of the active requests, at least three. */
export function withinBudget({ active, retrying }: RetryLoad): boolean {
  return retrying < Math.max(BUDGET_LEAST, Math.floor(active * BUDGET_SHARE));
}

/**
 * How soon after sending a reset must come to be taken for the keep-alive race: the worker closed an idle connection
 * while we were writing to it. A race shows within one round trip; later, the worker had the picture.
 */
const RACE_MS = 200;

/** Whether a loss looks like the keep-alive race: then the same worker gets it once more on a fresh connection. */
export function isKeepAliveRace(outcome: Outcome): boolean {
  return (
    outcome.kind === 'lost' &&
    outcome.reusedSocket &&
    outcome.phase === 'sent' &&
    !outcome.slotFreed &&
    outcome.afterMs < RACE_MS
  );
}
