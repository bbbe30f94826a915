// Where waiting requests meet free slots. Owns the line and its one timer; binds late: a request gets a worker only at
// the moment when a slot is in the hand.

import { ToonError } from '../config/errors.ts';
import type { Claim, Pool, Want } from './pool.ts';
import { Queue, type Waiter } from './queue.ts';

/** A request's place: in the line, or past it. */
export interface Ticket {
  /** The slot. Rejects with a ToonError when there will be none. */
  readonly claim: Promise<Claim>;
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

interface Waiting extends Waiter {
  readonly want: Want;
  readonly resolve: (claim: Claim) => void;
  readonly reject: (error: ToonError) => void;
}

export interface DispatchOptions {
  readonly pool: Pool;
  readonly queueLength: number;
  readonly now: () => number;
  /** How long a refused client should wait, from the backlog as it is. */
  readonly retryAfterMs: () => number;
}

export class Dispatch {
  readonly #queue: Queue<Waiting>;
  readonly #options: DispatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#queue = new Queue(options.queueLength);
  }

  get queued(): number {
    return this.#queue.length;
  }

  /**
   * Asks for a slot.
   * @throws {ToonError} `no_upstream` or `overloaded`, at once.
   */
  enter(entrant: Entrant): Ticket {
    const { pool, now } = this.#options;
    if (entrant.deadlineAt <= now())
      throw this.#overloaded('The deadline passed before a slot was asked for.');
    if (!pool.possible(entrant.want)) throw this.#nobody(entrant.want);
    if (this.#queue.length === 0) {
      const claim = pool.claim(entrant.want);
      if (claim) return { claim: Promise.resolve(claim), leave: () => claim.release() };
    }
    return this.#wait(entrant);
  }

  /** A slot may be free, or an upstream came or went. Called by the pool's owner. */
  stir(): void {
    this.#refuseHopeless();
    this.#serve();
    this.#arm();
  }

  /** Looks again at a time when something held will be free. */
  stirAt(time: number): void {
    this.#armAt(time);
  }

  #wait({ want, arrivedAt, deadlineAt, returning }: Entrant): Ticket {
    let waiting: Waiting | undefined;
    const claim = new Promise<Claim>((resolve, reject) => {
      waiting = { want, arrivedAt, deadlineAt, resolve, reject };
      if (returning) this.#queue.comeBack(waiting);
      else if (!this.#queue.join(waiting)) reject(this.#overloaded('The queue is full.'));
    });
    this.#serve();
    this.#armAt(deadlineAt);
    const leave = () => {
      if (waiting && this.#queue.leave(waiting)) waiting.reject(new ToonError('client_gone'));
      else claim.then(({ release }) => release()).catch(() => {});
    };
    return { claim, leave };
  }

  /** Gives every free slot to the first in line that fits it. */
  #serve(): void {
    const { pool, now } = this.#options;
    while (this.#queue.length > 0) {
      let claim: Claim | undefined;
      const { next, late } = this.#queue.take(now(), ({ want }) => {
        claim = pool.claim(want);
        return claim !== undefined;
      });
      for (const { reject } of late)
        reject(this.#overloaded('The deadline passed before a slot became free.'));
      if (!next || !claim) return;
      next.resolve(claim);
    }
  }

  /** With nobody left who could ever serve them, those who wait are told at once. */
  #refuseHopeless(): void {
    if (this.#queue.length === 0) return;
    const { pool } = this.#options;
    for (const { want, reject } of this.#queue.takeAll(({ want }) => !pool.possible(want)))
      reject(this.#nobody(want));
  }

  #nobody(want: Want): ToonError {
    // A request that was tried everywhere has no more workers to fail on.
    return want.tried.upstreams.size > 0
      ? new ToonError('upstream_failed')
      : new ToonError('no_upstream', { retryAfterMs: this.#options.retryAfterMs() });
  }

  #overloaded(detail: string): ToonError {
    return new ToonError('overloaded', { detail, retryAfterMs: this.#options.retryAfterMs() });
  }

  #arm(): void {
    this.#armAt(this.#queue.earliestDeadline());
  }

  #armAt(time: number): void {
    if (time >= this.#timerAt || time === Number.POSITIVE_INFINITY) return;
    clearTimeout(this.#timer);
    this.#timerAt = time;
    this.#timer = setTimeout(
      () => {
        this.#timerAt = Number.POSITIVE_INFINITY;
        this.stir();
      },
      Math.max(1, Math.ceil(time - this.#options.now())),
    );
    this.#timer.unref();
  }
}
