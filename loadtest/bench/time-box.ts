// How long a bench may take. It starts nothing that would not end in time, and says what it left out.

/** Counts down from its making. */
export class TimeBox {
  readonly #endMs: number;
  readonly #now: () => number;

  /** `now` gives ms; an argument in tests. */
  constructor(minutes: number, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#endMs = now() + minutes * 60_000;
  }

  get leftMs(): number {
    return Math.max(0, this.#endMs - this.#now());
  }

  /** A box of its own for one of several parts that are still to come. */
  share(parts: number): TimeBox {
    return new TimeBox(this.leftMs / 60_000 / parts, this.#now);
  }

  /** Repeats until it was done often enough, or once more would not fit; the first time is always tried. */
  async repeat(times: number, once: (turn: number) => Promise<void>): Promise<number> {
    let longestMs = 0;
    for (let turn = 0; turn < times; turn++) {
      if (turn > 0 && longestMs > this.leftMs) return turn;
      const began = this.#now();
      await once(turn);
      longestMs = Math.max(longestMs, this.#now() - began);
    }
    return times;
  }
}
