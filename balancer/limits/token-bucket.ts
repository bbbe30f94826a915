// How often: a bucket of tokens that fills by itself, one token a request. Pure. Knows no clients and no HTTP.
//
// The whole state is one moment: when the bucket will be full again. So nothing has to fill it, and a bucket whose
// moment has passed is like a new one and may be forgotten.

/** How many tokens a bucket holds, and how long one takes to come back. */
export interface Rate {
  readonly burst: number;
  readonly everyMs: number;
}

/** Less than this is the error of adding floating-point ms, not a token that is missing. */
const ROUNDING_MS = 1e-6;

export class TokenBucket {
  readonly rate: Rate;
  #fullAt = Number.NEGATIVE_INFINITY;

  constructor(rate: Rate) {
    this.rate = rate;
  }

  /** The moment at which it will be full, or was. */
  get fullAt(): number {
    return this.#fullAt;
  }

  /** Whole tokens that are there. */
  available(now: number): number {
    const { burst, everyMs } = this.rate;
    const missing = Math.max(0, this.#fullAt - now - ROUNDING_MS) / everyMs;
    return Math.max(0, Math.floor(burst - missing));
  }

  /** Ms until there is a token; 0 when there is one. */
  waitMs(now: number): number {
    const { burst, everyMs } = this.rate;
    const wait = this.#fullAt - (burst - 1) * everyMs - now;
    return wait > ROUNDING_MS ? wait : 0;
  }

  /** Ms until there is one token more than now; 0 when the bucket is full. */
  untilNextMs(now: number): number {
    const missing = this.#fullAt - now;
    if (missing <= ROUNDING_MS) return 0;
    return missing - Math.floor((missing - ROUNDING_MS) / this.rate.everyMs) * this.rate.everyMs;
  }

  /** Takes a token. Call it only where {@link waitMs} is 0; a token that is not there is owed. */
  take(now: number): void {
    this.#fullAt = Math.max(now, this.#fullAt) + this.rate.everyMs;
  }

  /** Puts a token back that was taken. The bucket never holds more than its burst. */
  giveBack(): void {
    this.#fullAt -= this.rate.everyMs;
  }

  isFull(now: number): boolean {
    return this.#fullAt <= now + ROUNDING_MS;
  }
}
