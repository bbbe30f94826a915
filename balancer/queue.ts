// The one line in which requests wait for a slot: its order, its bound, and who can no longer be served in time.
// Pure. Knows no slots and no timers: whoever has a free slot asks `take`, and passes the time in.
//
// Invariant: `#line` is sorted by place; equal places keep the order in which they came. Places never change while
// waiting, so a request that comes back (a worker said "busy") stands exactly where it stood before.

/** What the line needs to know of a request. Times are ms of one monotonic clock. */
export interface Waiter {
  /** When it first joined the line; kept when it comes back. */
  readonly arrivedAt: number;
  /** When its answer is worth nothing any more. */
  readonly deadlineAt: number;
}

/** What {@link Queue.take} found. */
export interface Taken<W> {
  /** The first in line that the caller can serve. */
  readonly next: W | undefined;
  /** Those that stood before it and can no longer be served in time; they have left the line. */
  readonly late: readonly W[];
}

/** The line. `bound` is how many may stand in it; those that come back are never turned away. */
export class Queue<W extends Waiter> {
  readonly #line: W[] = [];
  readonly #bound: number;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get length(): number {
    return this.#line.length;
  }

  /** Joins at the end of its equals; false when the line is full. */
  join(waiter: W): boolean {
    if (this.#line.length >= this.#bound) return false;
    this.#line.splice(this.#placeAfter(waiter.arrivedAt), 0, waiter);
    return true;
  }

  /** Comes back to the place it had, before all who arrived later. Never refused: it had been let in. */
  comeBack(waiter: W): void {
    this.#line.splice(this.#placeBefore(waiter.arrivedAt), 0, waiter);
  }

  /** Leaves the line; false when it did not stand in it. */
  leave(waiter: W): boolean {
    const start = this.#placeBefore(waiter.arrivedAt);
    for (let at = start; at < this.#line.length; at++) {
      const other = this.#line[at];
      if (other === waiter) {
        this.#line.splice(at, 1);
        return true;
      }
      if (other === undefined || other.arrivedAt > waiter.arrivedAt) break;
    }
    return false;
  }

  /** The first in line whom `servable` accepts, without those whose deadline is past; these are handed out as late. */
  take(now: number, servable: (waiter: W) => boolean): Taken<W> {
    const late: W[] = [];
    for (let at = 0; at < this.#line.length; ) {
      const waiter = this.#line[at] as W; // `at` is below the length
      if (waiter.deadlineAt <= now) {
        this.#line.splice(at, 1);
        late.push(waiter);
      } else if (servable(waiter)) {
        this.#line.splice(at, 1);
        return { next: waiter, late };
      } else {
        at += 1;
      }
    }
    return { next: undefined, late };
  }

  /** Takes everybody out of the line for whom `leaves` holds. */
  takeAll(leaves: (waiter: W) => boolean): W[] {
    const leaving = this.#line.filter(leaves);
    if (leaving.length > 0) {
      const gone = new Set(leaving);
      this.#line.splice(0, this.#line.length, ...this.#line.filter((waiter) => !gone.has(waiter)));
    }
    return leaving;
  }

  /** The earliest deadline in the line; Infinity when it is empty. */
  earliestDeadline(): number {
    return this.#line.reduce(
      (earliest, { deadlineAt }) => Math.min(earliest, deadlineAt),
      Number.POSITIVE_INFINITY,
    );
  }

  /** The first index whose place is not before `place`. */
  #placeBefore(place: number): number {
    return this.#search((other) => other < place);
  }

  /** The first index whose place is behind `place`. */
  #placeAfter(place: number): number {
    return this.#search((other) => other <= place);
  }

  #search(goesRight: (place: number) => boolean): number {
    let low = 0;
    let high = this.#line.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (goesRight((this.#line[middle] as W).arrivedAt)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
