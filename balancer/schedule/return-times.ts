// When a refused client should come back: a moment at which it will be let in. Pure.
//
// If every client of a burst were told the same moment, they would make the same burst again. So each refusal books its
// own stretch of the fleet's time behind those who were told before it. Only half of the fleet's time is given away
// like this; the other half stays for who comes anew meanwhile.

/** The part of the fleet's time that is promised to returning clients. */
const SHARE = 0.5;
/** Nobody is told to stay away for longer; so far ahead a promise means nothing. */
const LONGEST_MS = 600_000;

/** What is known of the backlog when a client is refused. */
export interface Backlog {
  /** Until a newcomer would get a slot, ms. */
  readonly waitMs: number;
  /** Slots that take work; 0 while there are none. */
  readonly slots: number;
}

export class ReturnTimes {
  #promisedUntil = Number.NEGATIVE_INFINITY;

  /** How many ms from now a client that was just refused should come back. */
  next(now: number, { waitMs, slots }: Backlog, expectedMs: number): number {
    const own = expectedMs / Math.max(1, slots) / SHARE;
    const at = Math.max(now + waitMs, this.#promisedUntil) + own;
    this.#promisedUntil = Math.min(at, now + LONGEST_MS);
    return this.#promisedUntil - now;
  }
}
