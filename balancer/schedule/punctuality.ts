// How much earlier than its deadline a picture must be finished so that its client really has it in time. Pure.
//
// Under overload the line fills up until the last one let in would finish exactly at its deadline, and from then on
// everybody is served at the very last moment. So whatever is missing in the balancer's own reckoning makes all of them
// late, not some: an event loop that saw a request or an answer late, the encoding behind a slot that was given back, a
// client whose clock began before its request was seen. (Measured before this: goodput at 3× between 0.28 and 0.99.)

/** The 95th percentile of how far answers came behind their expectation is followed step by step. */
const SHARE = 0.95;
const LEAST_STEP_MS = 0.5;
/** After so long a lag of the event loop counts half. */
const LAG_HALVES_MS = 1000;
/** The same for clients that gave up before we did. */
const HASTE_HALVES_MS = 10_000;
/** No client's haste counts for more: it says little of the others. */
const MOST_HASTE_MS = 250;
/** What is always left for the wire: this part of a client's patience, within bounds. */
const WIRE_PART = 0.01;
const WIRE_MOST_MS = 50;
/** No more than this part of a client's patience is given up for any reason. */
const MOST_PART = 0.2;

/** The highest value of late, forgotten by halves. */
class Peak {
  readonly #halvesMs: number;
  #value = 0;
  #at = 0;

  constructor(halvesMs: number) {
    this.#halvesMs = halvesMs;
  }

  note(now: number, value: number): void {
    if (value <= this.at(now)) return;
    this.#value = value;
    this.#at = now;
  }

  at(now: number): number {
    return this.#value * 0.5 ** ((now - this.#at) / this.#halvesMs);
  }
}

export class Punctuality {
  #behindMs = 0;
  readonly #lag = new Peak(LAG_HALVES_MS);
  readonly #haste = new Peak(HASTE_HALVES_MS);

  /** An answer came so many ms later (below 0: earlier) than its picture was expected to. */
  noteAnswer(behindMs: number): void {
    const step = Math.max(LEAST_STEP_MS, this.#behindMs / 8);
    this.#behindMs = Math.max(0, this.#behindMs + step * (behindMs > this.#behindMs ? SHARE : SHARE - 1));
  }

  /** The event loop saw something so many ms late. */
  noteLag(now: number, lagMs: number): void {
    this.#lag.note(now, lagMs);
  }

  /** A client left while its picture waited or was drawn, `leftMs` before its deadline by our clock. */
  noteGone(now: number, leftMs: number, patienceMs: number): void {
    // Much earlier is a change of mind; near the deadline it is a clock that is ahead of ours.
    if (leftMs > 0 && leftMs <= MOST_PART * patienceMs)
      this.#haste.note(now, Math.min(leftMs, MOST_HASTE_MS));
  }

  /** By how many ms answers will come behind their time, as far as the last ones tell. */
  latenessMs(now: number): number {
    return this.#behindMs + this.#lag.at(now) + this.#haste.at(now);
  }
}

/** How much earlier than its deadline a picture of a patience must be finished, at a lateness. */
export function reserveMs(patienceMs: number, latenessMs: number): number {
  const wire = Math.min(WIRE_MOST_MS, WIRE_PART * patienceMs);
  return Math.min(MOST_PART * patienceMs, wire + latenessMs);
}
