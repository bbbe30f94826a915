// The one line in which requests wait for a slot: its classes, its order, its bound, and who can no longer be served in
// time. Pure. Knows no slots and no timers: whoever has a free slot asks `take`, and passes the time in.
//
// Each request gets one place when it first joins, in ms of the same clock as its arrival; lower places are served first:
//
//   fifo, lifo-overload   place = arrival
//   cost                  place = arrival + COST_WEIGHT × expected service
//   batch adds            min(BATCH_BEHIND_MS, half of its patience)
//
// So nobody starves: whoever waits is overtaken only by those who arrive within that span. Places never change while
// waiting, so a request that comes back (a worker said "busy") stands exactly where it stood before.
//
// Invariant: `#line` is sorted by place; equal places keep the order in which they came.

/** The orders of `balancer.order`. */
export const queueOrders = ['cost', 'fifo', 'lifo-overload'] as const;
export type QueueOrder = (typeof queueOrders)[number];

/** Live users, or work that may wait (`X-Priority: batch`). */
export const priorities = ['interactive', 'batch'] as const;
export type Priority = (typeof priorities)[number];

/** What the line needs to know of a request. Times are ms of one monotonic clock. */
export interface Waiter {
  /** When it first joined the line; kept when it comes back. */
  readonly arrivedAt: number;
  /** When its answer is worth nothing any more. */
  readonly deadlineAt: number;
  /** How long it is expected to keep a slot; the same when it comes back. */
  readonly expectedMs: number;
  readonly priority: Priority;
}

/** What {@link Queue.take} found. */
export interface Taken<W> {
  /** The first in line that the caller can serve. */
  readonly next: W | undefined;
  /** Those that stood before it and can no longer finish in time; they have left the line. */
  readonly late: readonly W[];
}

export interface QueueOptions {
  /** How many may stand in the line; those that come back are never turned away. */
  readonly bound: number;
  readonly order: QueueOrder;
  /** With `lifo-overload`: newest first while the oldest has waited longer than this. */
  readonly overloadMs: number;
}

/**
 * What one ms of expected service weighs against one ms of waiting. Simulated on the bench's trace (90 % of 40 ms, 10 %
 * of 400 ms, 8 slots; p99 against FIFO at 70 / 80 / 90 % load): 1 gives small pictures 0.63 / 0.58 / 0.77 and large ones
 * 1.24 / 1.21 / 1.14; 1.5 gives 0.64 / 0.56 / 0.64 and 1.23 / 1.32 / 1.21; 3 makes large ones wait 1.41 at 90 %.
 */
export const COST_WEIGHT = 1.25;
/** How far a batch request stands behind an interactive one that arrived with it. */
export const BATCH_BEHIND_MS = 10_000;

/** So many arrivals are remembered. */
const RECENT = 500;

interface Standing<W> {
  readonly waiter: W;
  readonly place: number;
}

/** The line. */
export class Queue<W extends Waiter> {
  readonly #line: Standing<W>[] = [];
  readonly #options: QueueOptions;
  /** Σ expected service of all who wait. */
  #workMs = 0;
  /** Who was let in of late, as a picture of who will come. */
  #recent: { readonly at: number; readonly expectedMs: number }[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#line.length;
  }

  /** How many of a class wait. */
  lengthOf(priority: Priority): number {
    return this.#line.reduce((count, { waiter }) => count + (waiter.priority === priority ? 1 : 0), 0);
  }

  /** Joins at the end of its equals; false when the line is full. */
  join(waiter: W): boolean {
    if (this.#line.length >= this.#options.bound) return false;
    const place = this.#placeOf(waiter);
    this.#insert(
      this.#search((other) => other <= place),
      { waiter, place },
    );
    return true;
  }

  /** Comes back to the place it had, before all who came later. Never refused: it had been let in. */
  comeBack(waiter: W): void {
    const place = this.#placeOf(waiter);
    this.#insert(
      this.#search((other) => other < place),
      { waiter, place },
    );
  }

  /** Leaves the line; false when it did not stand in it. */
  leave(waiter: W): boolean {
    const place = this.#placeOf(waiter);
    for (let at = this.#search((other) => other < place); at < this.#line.length; at++) {
      const other = this.#line[at] as Standing<W>; // `at` is below the length
      if (other.waiter === waiter) {
        this.#remove(at);
        return true;
      }
      if (other.place > place) break;
    }
    return false;
  }

  /** The first in line whom `servable` accepts, without those who can no longer finish; these are handed out as late. */
  take(now: number, servable: (waiter: W) => boolean): Taken<W> {
    const late: W[] = [];
    const visit = (at: number): W | 'late' | undefined => {
      const { waiter } = this.#line[at] as Standing<W>; // `at` is within the line
      if (hopeless(waiter, now)) {
        late.push(this.#remove(at));
        return 'late';
      }
      return servable(waiter) ? this.#remove(at) : undefined;
    };
    if (this.#newestFirst(now)) {
      // A batch request whose place is still in the future comes after everybody else.
      const present = this.#search((other) => other <= now);
      for (let at = present - 1; at >= 0; at--) {
        const found = visit(at);
        if (found !== undefined && found !== 'late') return { next: found, late };
      }
    }
    for (let at = 0; at < this.#line.length; ) {
      const found = visit(at);
      if (found === 'late') continue;
      if (found !== undefined) return { next: found, late };
      at += 1;
    }
    return { next: undefined, late };
  }

  /** Takes out all who can no longer finish in time. */
  takeLate(now: number): W[] {
    return this.takeAll((waiter) => hopeless(waiter, now));
  }

  /** Takes everybody out of the line for whom `leaves` holds. */
  takeAll(leaves: (waiter: W) => boolean): W[] {
    const gone: W[] = [];
    for (let at = 0; at < this.#line.length; ) {
      const { waiter } = this.#line[at] as Standing<W>;
      if (leaves(waiter)) gone.push(this.#remove(at));
      else at += 1;
    }
    return gone;
  }

  /** The moment at which the first one in the line can no longer finish; Infinity when it is empty. */
  nextLateAt(): number {
    return this.#line.reduce(
      (earliest, { waiter }) => Math.min(earliest, waiter.deadlineAt - waiter.expectedMs),
      Number.POSITIVE_INFINITY,
    );
  }

  /**
   * Σ expected service of those who would be served before a newcomer. Under `lifo-overload` everybody counts: who is
   * overtaken has to be served too, and the line must not grow because it is turned around.
   */
  workBefore(newcomer: Waiter): number {
    if (this.#options.order === 'lifo-overload') return this.#workMs;
    const place = this.#placeOf(newcomer);
    // From the end: most newcomers stand near it.
    let work = this.#workMs;
    for (let at = this.#line.length - 1; at >= 0; at--) {
      const other = this.#line[at] as Standing<W>;
      if (other.place <= place) break;
      work -= other.waiter.expectedMs;
    }
    return work;
  }

  /** Notes who was let in, in the line or past it. */
  noteArrival({ arrivedAt, expectedMs }: Waiter): void {
    if (this.#options.order !== 'cost') return;
    this.#recent.push({ at: arrivedAt, expectedMs });
    if (this.#recent.length > 2 * RECENT) this.#recent = this.#recent.slice(-RECENT);
  }

  /**
   * Σ expected service of those who will probably come later and still be served before a newcomer, within the time
   * that it would wait anyway: as many as did of late. Without this a large picture is let in, overtaken, and dropped.
   */
  workOvertaking({ arrivedAt, expectedMs, priority }: Waiter, waitMs: number): number {
    if (this.#options.order !== 'cost') return 0;
    const behind = priority === 'batch' ? BATCH_BEHIND_MS : 0;
    let work = 0;
    for (let at = this.#recent.length - 1; at >= 0; at--) {
      const other = this.#recent[at] as { at: number; expectedMs: number }; // `at` is within the list
      const age = arrivedAt - other.at;
      if (age > waitMs || age > COST_WEIGHT * expectedMs + behind) break;
      if (age < COST_WEIGHT * (expectedMs - other.expectedMs) + behind) work += other.expectedMs;
    }
    return work;
  }

  /** Σ expected service of all who wait. */
  get workMs(): number {
    return this.#workMs;
  }

  #placeOf({ arrivedAt, deadlineAt, expectedMs, priority }: Waiter): number {
    const cost = this.#options.order === 'cost' ? COST_WEIGHT * expectedMs : 0;
    const behind = priority === 'batch' ? Math.min(BATCH_BEHIND_MS, (deadlineAt - arrivedAt) / 2) : 0;
    return arrivedAt + cost + behind;
  }

  #newestFirst(now: number): boolean {
    const { order, overloadMs } = this.#options;
    const oldest = this.#line[0];
    return order === 'lifo-overload' && oldest !== undefined && now - oldest.place > overloadMs;
  }

  #insert(at: number, standing: Standing<W>): void {
    this.#line.splice(at, 0, standing);
    this.#workMs += standing.waiter.expectedMs;
  }

  #remove(at: number): W {
    const { waiter } = this.#line[at] as Standing<W>;
    this.#line.splice(at, 1);
    // Sums of floats drift; an empty line has no work.
    this.#workMs = this.#line.length === 0 ? 0 : this.#workMs - waiter.expectedMs;
    return waiter;
  }

  /** The first index whose place does not go right. */
  #search(goesRight: (place: number) => boolean): number {
    let low = 0;
    let high = this.#line.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (goesRight((this.#line[middle] as Standing<W>).place)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether a request would be late even if it were served now. */
function hopeless({ deadlineAt, expectedMs }: Waiter, now: number): boolean {
  return deadlineAt - expectedMs <= now;
}
