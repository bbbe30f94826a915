// The one line in which requests wait for a slot: its classes, its order, its bound, and who can no longer be served in
// time. Pure. Knows no slots and no timers: whoever has a free slot asks `take`, and passes the time in.
//
// Each request gets one place when it first joins, in ms of the same clock as its arrival; lower places are served first:
//
//   fifo, lifo-overload   place = arrival
//   cost                  place = arrival + COST_WEIGHT × expected service
//   batch adds            min(BATCH_BEHIND_MS, half of its patience)
//
// So nobody starves: whoever waits is overtaken only by those who arrive within that span. And nobody is overtaken until
// it is late: a newcomer that would do that to one of its class stands behind it instead (`foresee`). Places never change
// while waiting, and a request that comes back (a worker said "busy") stands at least as far in front as before.
//
// Invariant: `#line` is sorted by place; equal places keep the order in which they came.

import { reserveMs } from './punctuality.ts';

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
  /** To how little its worker would bring that down for want of time; undefined: to nothing less than expected. */
  readonly leastMs?: number | undefined;
  readonly priority: Priority;
  /** Requests of different groups never take each other's slots; undefined may take any. */
  readonly group?: string | undefined;
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
 * of 400 ms, 8 slots, 6 × 30 s; p99 against FIFO at 70 / 80 / 90 % load): 0.75 gives small pictures 0.72 / 0.70 / 0.76,
 * large ones 1.22 / 1.22 / 1.13 and all 1.03 / 1.12 / 1.20; 1.25 gives 0.72 / 0.72 / 0.77, 1.20 / 1.29 / 1.18 and
 * 1.03 / 1.12 / 1.25; 0.5 makes small ones wait 0.79 at 90 %, 2 makes them wait 0.89, since large ones that could wait no
 * longer then stand in their way.
 */
export const COST_WEIGHT = 0.75;
/** How far a batch request stands behind an interactive one that arrived with it. */
export const BATCH_BEHIND_MS = 10_000;

/** What the line needs to know of the fleet to foresee who will be served when. */
export interface Backlog {
  readonly now: number;
  /** Slots that could serve the newcomer, at least 1. */
  readonly slots: number;
  /** Σ of what runs on them will still take. */
  readonly residualMs: number;
  /** Ms by which answers come behind their time (`punctuality.ts`). */
  readonly latenessMs: number;
}

/** Where a newcomer would stand, and when it would get its slot. */
export interface Foreseen {
  readonly place: number;
  /** Until all work before it is shared out among the slots, ms. Never too short, as far as costs are known. */
  readonly waitMs: number;
  /** Whether it would be served too late for its deadline. */
  readonly late: boolean;
}

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

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#line.length;
  }

  /** How many stand before one; undefined when it does not stand in the line. */
  positionOf(waiter: W): number | undefined {
    const at = this.#indexOf(waiter);
    return at === -1 ? undefined : at;
  }

  /** How many of a class wait. */
  lengthOf(priority: Priority): number {
    return this.#line.reduce((count, { waiter }) => count + (waiter.priority === priority ? 1 : 0), 0);
  }

  /** Joins at a place that was foreseen for it, else at the end of its equals; false when the line is full. */
  join(waiter: W, place = this.#placeOf(waiter)): boolean {
    if (this.#line.length >= this.#options.bound) return false;
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
    const at = this.#indexOf(waiter);
    if (at !== -1) this.#remove(at);
    return at !== -1;
  }

  /**
   * The first in line whom `servable` accepts, without those who can no longer finish; these are handed out as late.
   * `latenessMs` is by how much answers come behind their time.
   */
  take(now: number, servable: (waiter: W) => boolean, latenessMs = 0): Taken<W> {
    const late: W[] = [];
    const visit = (at: number): W | 'late' | undefined => {
      const { waiter } = this.#line[at] as Standing<W>; // `at` is within the line
      if (mustStartBy(waiter, latenessMs) <= now) {
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
  takeLate(now: number, latenessMs = 0): W[] {
    return this.takeAll((waiter) => mustStartBy(waiter, latenessMs) <= now);
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
  nextLateAt(latenessMs = 0): number {
    return this.#line.reduce(
      (earliest, { waiter }) => Math.min(earliest, mustStartBy(waiter, latenessMs)),
      Number.POSITIVE_INFINITY,
    );
  }

  /**
   * Where a newcomer would stand and how long it would wait: all the work before it, shared among the slots. That is
   * never too short: until its turn every slot is busy with that work.
   */
  foresee(newcomer: Waiter, backlog: Backlog): Foreseen {
    const { now, slots, residualMs, latenessMs } = backlog;
    let place = this.#placeOf(newcomer);
    let work = this.workOf(newcomer.group);
    // Under `lifo-overload` everybody counts as before it: who is overtaken has to be served too, and the line must not
    // grow because it is turned around.
    if (this.#options.order !== 'lifo-overload') {
      const delayMs = newcomer.expectedMs / slots;
      // From the end: most newcomers stand near it.
      for (let at = this.#line.length - 1; at >= 0; at--) {
        const { waiter, place: taken } = this.#line[at] as Standing<W>; // `at` is below the length
        if (taken <= place) break;
        if (apart(waiter, newcomer)) continue;
        const startsAt = now + (residualMs + work - waiter.expectedMs) / slots;
        if (mayNotMakeLate(newcomer, waiter) && startsAt + delayMs >= mustStartBy(waiter, latenessMs)) {
          place = taken;
          work += this.#workBehind(at, taken, newcomer);
          break;
        }
        work -= waiter.expectedMs;
      }
    }
    const waitMs = (work + residualMs) / slots;
    return { place, waitMs, late: now + waitMs >= mustStartBy(newcomer, latenessMs) };
  }

  /** Σ expected service of all who wait. */
  get workMs(): number {
    return this.#workMs;
  }

  /** Σ expected service of all who wait and may take the slots of a group. */
  workOf(group: string | undefined): number {
    if (group === undefined) return this.#workMs;
    return this.#line.reduce(
      (sum, { waiter }) => sum + (apart(waiter, { group }) ? 0 : waiter.expectedMs),
      0,
    );
  }

  /** The work of those who stand right behind `at` at the same place: whoever joins at that place comes after them. */
  #workBehind(at: number, place: number, newcomer: Waiter): number {
    let work = 0;
    for (let next = at + 1; this.#line[next]?.place === place; next++) {
      const { waiter } = this.#line[next] as Standing<W>; // its place was just looked at
      if (!apart(waiter, newcomer)) work += waiter.expectedMs;
    }
    return work;
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

  #indexOf(waiter: W): number {
    // It may stand behind its own place, never before it.
    const place = this.#placeOf(waiter);
    const from = this.#search((other) => other < place);
    return this.#line.findIndex((standing, at) => at >= from && standing.waiter === waiter);
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

/** Whether two never compete for a slot. */
function apart(one: Pick<Waiter, 'group'>, other: Pick<Waiter, 'group'>): boolean {
  return one.group !== undefined && other.group !== undefined && one.group !== other.group;
}

/** From this moment on it is too late to give it a slot. */
export function mustStartBy(waiter: Waiter, latenessMs: number): number {
  const { arrivedAt, deadlineAt, expectedMs, leastMs = expectedMs } = waiter;
  return deadlineAt - leastMs - reserveMs(deadlineAt - arrivedAt, latenessMs);
}

/** Batch work must not be made late by other batch work, but live users pass it whatever becomes of it. */
function mayNotMakeLate(newcomer: Waiter, standing: Waiter): boolean {
  return newcomer.priority === 'batch' || standing.priority === 'interactive';
}
