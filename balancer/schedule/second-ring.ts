// What was counted in each of the last seconds, in places that are used again. Pure: the clock is an argument; what is
// counted is its user's.

/** A sliding window over whole seconds. */
export class SecondRing<Counts> {
  readonly #places: { second: number; readonly counts: Counts }[];
  readonly #empty: (counts: Counts) => void;

  /**
   * @param seconds How many seconds are kept, the running one included.
   * @param fresh Counts of nothing.
   * @param empty Makes used counts into such.
   */
  constructor(seconds: number, fresh: () => Counts, empty: (counts: Counts) => void) {
    this.#places = Array.from({ length: seconds }, () => ({
      second: Number.NEGATIVE_INFINITY,
      counts: fresh(),
    }));
    this.#empty = empty;
  }

  /** The counts of the running second, to be added to; `now` in ms. */
  at(now: number): Counts {
    const second = Math.floor(now / 1000);
    // The remainder always names a place.
    const place = this.#places[second % this.#places.length] as { second: number; readonly counts: Counts };
    if (place.second !== second) {
      place.second = second;
      this.#empty(place.counts);
    }
    return place.counts;
  }

  /** The counts of the last so many seconds, the running one included or left out. */
  last(now: number, seconds: number, running: 'with-running' | 'whole-only'): Counts[] {
    const current = Math.floor(now / 1000);
    const newest = running === 'with-running' ? current : current - 1;
    return this.#places
      .filter(({ second }) => second > newest - seconds && second <= newest)
      .map(({ counts }) => counts);
  }
}
