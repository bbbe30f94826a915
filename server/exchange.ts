// What one request carries with it from the first middleware to the last: its id, its clock, who asks and whether he is
// still there. Knows no routes and no pictures.

import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import { HEADERS, isRequestId, type Timings } from '../config/contract.ts';
import { ToonError } from '../config/errors.ts';

/** One request and its answer in the making. */
export interface Exchange {
  readonly requestId: string;
  /** When its headers were read, on the clock of `performance.now()`. */
  readonly arrivedAt: number;
  /** When its answer is worth nothing any more, on the same clock. */
  readonly deadline: number;
  /** True for a balancer's request: never queued, never kept waiting. */
  readonly isAttempt: boolean;
  /** Aborted when the client leaves before its answer is written. */
  readonly gone: AbortSignal;
  /** True while a client that sent `Expect: 100-continue` holds its body back. */
  bodyHeldBack: boolean;
  /** What is known so far for the log line. */
  readonly facts: { style?: string; model?: string; code?: string; cause?: unknown; timings?: Timings };
}

/** The longest patience that a client may ask for beyond the default deadline. */
const LONGEST_DEADLINE_MS = 600_000;

/** Opens an exchange. `patience` is how long a client that says nothing is worth waiting for, ms. */
export function openExchange(ctx: Context, patience: number): Exchange {
  const arrivedAt = performance.now();
  const left = new AbortController();
  ctx.res.once('close', () => {
    if (!ctx.res.writableFinished) left.abort();
  });
  const given = ctx.get(HEADERS.requestId);
  const exchange: Exchange = {
    requestId: isRequestId(given) ? given : randomUUID(),
    arrivedAt,
    deadline: arrivedAt + patienceOf(ctx.get(HEADERS.deadlineMs), patience),
    isAttempt: ctx.get(HEADERS.attempt) !== '',
    gone: left.signal,
    bodyHeldBack: /^100-continue$/i.test(ctx.get('expect')),
    facts: {},
  };
  ctx.state.exchange = exchange;
  return exchange;
}

/** The exchange of a request. */
export function exchangeOf(ctx: Context): Exchange {
  return ctx.state.exchange as Exchange;
}

/** How long a client says it waits, ms; what is no such number is passed over, since it is only a hint. */
function patienceOf(header: string, fallback: number): number {
  return /^\d{1,9}$/.test(header) ? Math.min(Number(header), LONGEST_DEADLINE_MS) : fallback;
}

/**
 * Waits for something within the time that an exchange has for it.
 * @throws {ToonError} `late()` when the time is over, `client_gone` when the client leaves first.
 */
export async function within<T>(
  work: Promise<T>,
  ms: number,
  { gone }: Pick<Exchange, 'gone'>,
  late: () => ToonError,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let left: (() => void) | undefined;
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), Math.max(0, ms));
    left = () => reject(new ToonError('client_gone'));
    if (gone.aborted) left();
    else gone.addEventListener('abort', left, { once: true });
  });
  // Whichever loses the race has nobody to tell its failure to.
  work.catch(() => {});
  try {
    return await Promise.race([work, end]);
  } finally {
    clearTimeout(timer);
    if (left) gone.removeEventListener('abort', left);
  }
}
