// What refused requests were told: each its own moment, at which there will be a token for it. Pure.
//
// If fifty requests beyond a limit of one a second were all told "in a second", one of them would be let in then. So
// each refusal takes tokens out of a bucket in the future: the real one as it will be when all that were told before
// have come back. Retry-After is in whole seconds; that is reckoned with, since those of one second come back together
// and the bucket holds no more than its burst.

import type { Rate } from './token-bucket.ts';

/**
 * The part of the rate that is promised. The rest stays for who comes anew meanwhile, and makes good that clients come back
 * late, each by another time: on a busy machine 62 to 88 % were let in with all of it promised, 89 to 100 % with half
 * (`return.slow.test.ts`).
 */
const SHARE = 0.5;

/** Nobody is told to stay away for longer; so far ahead a promise means nothing. */
const LONGEST_MS = 600_000;

export class Promises {
  #lastAt = Number.NEGATIVE_INFINITY;
  /** When the bucket will be full again, after all that was promised is taken. */
  #fullAt = Number.NEGATIVE_INFINITY;

  /**
   * How many ms from now a refused request should come back; whole seconds.
   * @param fullAt when the real bucket will be full again.
   */
  next(now: number, fullAt: number, { burst, everyMs }: Rate): number {
    // Once all moments are past, those who came back have taken their tokens from the real bucket.
    const promised = this.#lastAt > now ? Math.max(this.#fullAt, fullAt) : fullAt;
    const soonest = Math.max(promised - (burst - 1) * everyMs, this.#lastAt, now);
    const toldMs = Math.min(LONGEST_MS, Math.max(1, Math.ceil((soonest - now) / 1000)) * 1000);
    if (toldMs < LONGEST_MS) {
      this.#lastAt = now + toldMs;
      this.#fullAt = Math.max(this.#lastAt, promised) + everyMs / SHARE;
    }
    return toldMs;
  }
}
