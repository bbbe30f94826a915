// The worker's one slot: one picture in inference at a time. A balancer takes it at once or is told "busy"; direct
// clients wait in a small queue, first come first served, until their deadline. Knows no HTTP and no pictures.

import { ToonError } from '../config/errors.ts';

/** Gives the slot back; a second call does nothing. */
export type Release = () => void;

/** Clock and timers, so that tests need not wait. */
export interface SlotClock {
  readonly now: () => number;
  /** Calls back after `ms`; returns a function that forgets it. */
  readonly after: (ms: number, call: () => void) => () => void;
}

const REAL_CLOCK: SlotClock = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};

interface Waiting {
  readonly admit: (release: Release) => void;
  readonly forget: () => void;
}

/** The one slot of a worker. */
export class Slot {
  readonly #queueLength: number;
  readonly #clock: SlotClock;
  readonly #queue: Waiting[] = [];
  #busy = false;
  #takenAt = 0;
  #idleSince: number;
  /** How long one picture has held the slot lately, ms; the guess behind Retry-After. */
  #holdMs = 250;

  /** @param queueLength How many direct requests may wait. */
  constructor(queueLength: number, clock: SlotClock = REAL_CLOCK) {
    this.#queueLength = queueLength;
    this.#clock = clock;
    this.#idleSince = clock.now();
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** How many direct requests wait. */
  get queued(): number {
    return this.#queue.length;
  }

  /** How long the slot has been free, ms; 0 while it is taken. */
  get idleMs(): number {
    return this.#busy ? 0 : this.#clock.now() - this.#idleSince;
  }

  /** When one who is refused now would find room, ms: all who are before him, each as long as the last ones took. */
  get backlogMs(): number {
    if (!this.#busy) return 0;
    const running = Math.max(0, this.#holdMs - (this.#clock.now() - this.#takenAt));
    return running + this.#queue.length * this.#holdMs;
  }

  /** Takes the slot if it is free and nobody waits for it. */
  tryClaim(): Release | undefined {
    return this.#busy ? undefined : this.#take();
  }

  /**
   * Takes the slot, waiting for it if need be.
   * @param deadline When waiting is worth nothing any more, on the slot's clock.
   * @param signal Aborted when the client leaves.
   * @throws {ToonError} `overloaded` when the queue is full or the deadline passes first; `client_gone`.
   */
  claim(deadline: number, signal?: AbortSignal): Promise<Release> {
    if (signal?.aborted) return Promise.reject(new ToonError('client_gone'));
    if (!this.#busy) return Promise.resolve(this.#take());
    if (this.#queue.length >= this.#queueLength) return Promise.reject(this.overloaded());
    return new Promise((resolve, reject) => {
      const leave = (error: ToonError) => {
        const at = this.#queue.indexOf(waiting);
        if (at < 0) return;
        this.#queue.splice(at, 1);
        waiting.forget();
        reject(error);
      };
      const left = () => leave(new ToonError('client_gone'));
      const forgetTimer = this.#clock.after(Math.max(0, deadline - this.#clock.now()), () =>
        leave(this.overloaded()),
      );
      signal?.addEventListener('abort', left, { once: true });
      const waiting: Waiting = {
        admit: resolve,
        forget: () => {
          forgetTimer();
          signal?.removeEventListener('abort', left);
        },
      };
      this.#queue.push(waiting);
    });
  }

  /** The refusal of one who finds no room, with a Retry-After that is true to the backlog. */
  overloaded(): ToonError {
    return new ToonError('overloaded', { retryAfterMs: Math.max(this.backlogMs, this.#holdMs) });
  }

  #take(): Release {
    this.#busy = true;
    this.#takenAt = this.#clock.now();
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#giveBack();
    };
  }

  #giveBack(): void {
    const now = this.#clock.now();
    this.#holdMs += (now - this.#takenAt - this.#holdMs) / 8;
    this.#busy = false;
    this.#idleSince = now;
    const next = this.#queue.shift();
    if (!next) return;
    next.forget();
    next.admit(this.#take());
  }
}
