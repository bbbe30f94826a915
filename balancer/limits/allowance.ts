// What one client (or all of them together) may still do: its tokens and its places. Pure. Who the client is, and what is
// said to it, is for others.

import { Concurrency } from './concurrency.ts';
import { Promises } from './promises.ts';
import { type Rate, TokenBucket } from './token-bucket.ts';

/** The limits of one client. What is undefined is not limited. */
export interface Limits {
  readonly rate: Rate | undefined;
  readonly concurrent: number | undefined;
}

/** Limits as they stand in the settings; 0 sets none, and a burst of 0 is as many as requests. */
export interface LimitSettings {
  readonly requests: number;
  readonly per: number;
  readonly burst: number;
  readonly concurrent: number;
}

/** Limits from their settings; undefined where nothing is limited. */
export function limitsOf({ requests, per, burst, concurrent }: LimitSettings): Limits | undefined {
  if (requests === 0 && concurrent === 0) return undefined;
  return {
    rate: requests === 0 ? undefined : { burst: burst === 0 ? requests : burst, everyMs: per / requests },
    concurrent: concurrent === 0 ? undefined : concurrent,
  };
}

/**
 * How much before its token a request may come: those that return when they were told do so some ms late, and the next
 * one, less late than that, would find its token not there yet. The token is owed, so the rate stays what it is.
 */
export function graceOf({ everyMs }: Rate): number {
  return Math.min(100, everyMs / 2);
}

/** Why a request has to wait, and for how long. */
export interface Excess {
  readonly kind: 'rate' | 'concurrency';
  readonly retryAfterMs: number;
}

/** What is left, for the client to read. */
export interface Remainder {
  readonly limits: Limits;
  readonly tokens: number | undefined;
  /** Until there is a token more; 0 when there are all of them. */
  readonly nextTokenMs: number;
  readonly places: number | undefined;
}

export class Allowance {
  readonly limits: Limits;
  readonly #bucket: TokenBucket | undefined;
  readonly #places: Concurrency | undefined;
  readonly #tokensTold = new Promises();
  readonly #placesTold = new Promises();

  constructor(limits: Limits) {
    this.limits = limits;
    this.#bucket = limits.rate && new TokenBucket(limits.rate);
    this.#places = limits.concurrent === undefined ? undefined : new Concurrency(limits.concurrent);
  }

  /** Whether one more request would be too many. */
  exceeded(now: number): Excess['kind'] | undefined {
    if (this.#bucket && this.#bucket.waitMs(now) > graceOf(this.#bucket.rate)) return 'rate';
    return this.#places && this.#places.free === 0 ? 'concurrency' : undefined;
  }

  /** Books a moment for a request that {@link exceeded} the limit. `heldMs` is how long requests keep their places. */
  refuse(kind: Excess['kind'], now: number, heldMs: number): Excess {
    const { concurrent } = this.limits;
    if (kind === 'rate' && this.#bucket) {
      const { rate, fullAt } = this.#bucket;
      return { kind, retryAfterMs: this.#tokensTold.next(now, fullAt, rate) };
    }
    // Places come back like tokens, one after the other.
    const rate = { burst: concurrent ?? 1, everyMs: heldMs / (concurrent ?? 1) };
    return { kind, retryAfterMs: this.#placesTold.next(now, now + heldMs, rate) };
  }

  /** Takes a token and a place; the answer gives the place back. */
  take(now: number): () => void {
    this.#bucket?.take(now);
    return this.#places?.take() ?? (() => {});
  }

  giveTokenBack(): void {
    this.#bucket?.giveBack();
  }

  remainder(now: number): Remainder {
    return {
      limits: this.limits,
      tokens: this.#bucket?.available(now),
      nextTokenMs: this.#bucket?.untilNextMs(now) ?? 0,
      places: this.#places?.free,
    };
  }

  get underWay(): boolean {
    return (this.#places?.taken ?? 0) > 0;
  }

  /** Whether it is like a new one, so that forgetting it gives nothing away. */
  isRestored(now: number): boolean {
    return !this.underWay && (this.#bucket?.isFull(now) ?? true);
  }
}
