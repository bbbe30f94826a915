// Where waiting requests meet free slots. Owns the line and its one timer; binds late: a request gets a worker only at
// the moment when a slot is in the hand. Refuses at once what can no longer be served in time.

import { ToonError } from '../../config/errors.ts';
import type { Claim, Pool, Want } from '../fleet/pool.ts';
import { mustStartBy, type Priority, Queue, type QueueOrder, type Waiter } from './queue.ts';
import { ReturnTimes } from './return-times.ts';

/** A request's place: in the line, or past it. */
export interface Ticket {
  /** The slot. Rejects with a ToonError when there will be none. */
  readonly claim: Promise<Claim>;
  /** How many stood before it when it joined the line; undefined when it had not to wait. */
  readonly position: number | undefined;
  /** The client is gone: leave the line at once; a slot that was given in the same moment is given back. */
  leave(): void;
}

/** One request on its way to a slot. */
export interface Entrant {
  readonly want: Want;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  /** It had a slot before and comes back to its place; the line's bound does not count for it. */
  readonly returning: boolean;
}

/** Why a request was refused for load; the cause of its error, and a label of `toonfleet_shed_total`. */
export type ShedReason =
  /** As many wait as may wait. */
  | 'queue_full'
  /** By the backlog it cannot finish before its deadline. */
  | 'hopeless'
  /** It waited, and now it cannot finish any more. */
  | 'late'
  /** It was held by an operator's pause until it could not finish any more. */
  | 'paused';

interface Waiting extends Waiter {
  readonly want: Want;
  readonly resolve: (claim: Claim) => void;
  readonly reject: (error: ToonError) => void;
}

export interface DispatchOptions {
  readonly pool: Pool;
  readonly queueLength: number;
  readonly order: QueueOrder;
  /** With `lifo-overload`: newest first while the oldest has waited longer than this. */
  readonly overloadMs: number;
  readonly now: () => number;
  /** Calls back after `ms`; returns how to forget it. */
  readonly after: (ms: number, call: () => void) => () => void;
  /** Ms by which answers come behind their time at this moment (`punctuality.ts`). */
  readonly latenessMs: () => number;
  /** With nobody usable: how long until an upstream may be back. */
  readonly recoveryMs: number;
}

export class Dispatch {
  readonly #queue: Queue<Waiting>;
  readonly #options: DispatchOptions;
  readonly #returns = new ReturnTimes();
  #forgetTimer = () => {};
  #timerAt = Number.POSITIVE_INFINITY;
  /** Moments at which something held will be free. */
  #wakeAt: number[] = [];
  #paused = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#queue = new Queue({ ...options, bound: options.queueLength });
  }

  get queued(): number {
    return this.#queue.length;
  }

  queuedOf(priority: Priority): number {
    return this.#queue.lengthOf(priority);
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** From now on nobody gets a slot; the line goes on with its bound and its deadlines, and what runs ends. */
  pause(): void {
    this.#paused = true;
  }

  /** Slots are given again, in the order of the line. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.stir('fleet');
  }

  /**
   * Asks for a slot.
   * @throws {ToonError} `no_upstream` or `overloaded`, at once.
   */
  enter(entrant: Entrant): Ticket {
    const { pool, now } = this.#options;
    const { want, deadlineAt, returning } = entrant;
    if (deadlineAt <= now()) throw this.#overloaded('late', want);
    // While all is held nobody is turned away for want of a worker: there may be one when it goes on.
    if (!this.#paused && !pool.possible(want)) throw this.#nobody(want);
    if (this.#queue.length === 0 && !this.#paused) {
      // On an idle fleet everything is tried, whatever was expected: a wrong expectation could never be unlearnt.
      const claim = pool.claim(want);
      if (claim) return { claim: Promise.resolve(claim), position: undefined, leave: () => claim.release() };
    }
    return this.#wait(entrant, returning ? undefined : this.judge(entrant));
  }

  /**
   * Refuses a request that by the backlog cannot finish before its deadline. Also asked at the headers, with what is
   * expected of a picture that nobody has seen yet. Gives the place in line that was foreseen for it.
   * @throws {ToonError} `overloaded`.
   */
  judge({
    want,
    arrivedAt,
    deadlineAt,
  }: Pick<Entrant, 'want' | 'arrivedAt' | 'deadlineAt'>): number | undefined {
    const { pool, now, latenessMs } = this.#options;
    const { slots, free, residualMs } = pool.running(want);
    if (free > 0 || slots === 0) return undefined;
    const { place, waitMs, late } = this.#queue.foresee(
      { ...want, arrivedAt, deadlineAt, group: pool.releaseFor(want) },
      { now: now(), slots, residualMs, latenessMs: latenessMs() },
    );
    if (late && waitMs > 0) throw this.#overloaded('hopeless', want);
    return place;
  }

  /** A slot may be free. Called by the pool's owner, with `fleet` when upstreams came or went. */
  stir(what: 'slot' | 'fleet' = 'fleet'): void {
    if (this.#queue.length === 0 || this.#paused) return;
    if (what === 'fleet') this.#refuseImpossible();
    this.#serve();
    if (what === 'fleet') this.#dropLate();
  }

  /** Looks again at a time when something held will be free. */
  stirAt(time: number): void {
    this.#wakeAt.push(time);
    this.#armAt(time);
  }

  #wait({ want, arrivedAt, deadlineAt, returning }: Entrant, place: number | undefined): Ticket {
    const { expectedMs, leastMs, priority } = want;
    const group = this.#options.pool.releaseFor(want);
    const waiter: Waiter = { arrivedAt, deadlineAt, expectedMs, leastMs, priority, group };
    let waiting: Waiting | undefined;
    const claim = new Promise<Claim>((resolve, reject) => {
      waiting = { ...waiter, want, resolve, reject };
      if (returning) this.#queue.comeBack(waiting);
      else if (!this.#queue.join(waiting, place)) reject(this.#overloaded('queue_full', want));
    });
    const position = waiting && this.#queue.positionOf(waiting);
    this.#serve();
    this.#armAt(mustStartBy(waiter, this.#options.latenessMs()));
    const leave = () => {
      if (waiting && this.#queue.leave(waiting)) waiting.reject(new ToonError('client_gone'));
      else claim.then(({ release }) => release()).catch(() => {});
    };
    return { claim, position, leave };
  }

  /** Gives every free slot to the first in line that fits it. */
  #serve(): void {
    const { pool, now, latenessMs } = this.#options;
    while (!this.#paused && this.#queue.length > 0 && pool.anyFree()) {
      let claim: Claim | undefined;
      const { next, late } = this.#queue.take(
        now(),
        ({ want }) => {
          claim = pool.claim(want);
          return claim !== undefined;
        },
        latenessMs(),
      );
      this.#refuseLate(late);
      if (!next || !claim) return;
      next.resolve(claim);
    }
  }

  #dropLate(): void {
    const { now, latenessMs } = this.#options;
    this.#refuseLate(this.#queue.takeLate(now(), latenessMs()));
  }

  #refuseLate(late: readonly Waiting[]): void {
    for (const { want, reject } of late) reject(this.#overloaded(this.#paused ? 'paused' : 'late', want));
  }

  /** With nobody left who could ever serve them, those who wait are told at once. */
  #refuseImpossible(): void {
    const { pool } = this.#options;
    for (const { want, reject } of this.#queue.takeAll(({ want }) => !pool.possible(want)))
      reject(this.#nobody(want));
  }

  #nobody(want: Want): ToonError {
    // A request that was tried everywhere has no more workers to fail on.
    return want.tried.upstreams.size > 0
      ? new ToonError('upstream_failed')
      : new ToonError('no_upstream', { retryAfterMs: this.#comeBackIn(want) });
  }

  #overloaded(reason: ShedReason, want: Want): ToonError {
    const retryAfterMs = this.#comeBackIn(want);
    return new ToonError('overloaded', { detail: SENTENCES[reason], retryAfterMs }, { cause: reason });
  }

  /** When a refused client will find room: behind all who wait, and behind all who were told a time before. */
  #comeBackIn(want: Want): number {
    const { pool, now, recoveryMs } = this.#options;
    const { slots, residualMs } = pool.running(want);
    const workMs = this.#queue.workOf(pool.releaseFor(want));
    const waitMs = slots === 0 ? recoveryMs : (workMs + residualMs) / slots;
    return this.#returns.next(now(), { waitMs, slots }, want.expectedMs);
  }

  #armAt(time: number): void {
    if (time >= this.#timerAt || time === Number.POSITIVE_INFINITY) return;
    const { now, after } = this.#options;
    this.#forgetTimer();
    this.#timerAt = time;
    this.#forgetTimer = after(Math.max(1, Math.ceil(time - now())), () => this.#onTimer());
  }

  #onTimer(): void {
    const { now, latenessMs } = this.#options;
    this.#timerAt = Number.POSITIVE_INFINITY;
    // Timers come up to a millisecond early. What became free while we looked was not seen: its moment is kept, or the
    // line would sleep in front of a free slot.
    const lookedAt = now();
    this.#serve();
    this.#dropLate();
    this.#wakeAt = this.#wakeAt.filter((time) => time > lookedAt);
    this.#armAt(Math.min(this.#queue.nextLateAt(latenessMs()), ...this.#wakeAt));
  }
}

const SENTENCES: Readonly<Record<ShedReason, string>> = {
  queue_full: 'The queue is full.',
  hopeless: 'By the backlog this picture cannot be finished before its deadline.',
  late: 'No slot became free in time for the deadline.',
  paused: 'The service is paused, and did not go on in time for the deadline.',
};
