// The worker's one slot: one picture in inference at a time. A balancer takes it at once or is told "busy"; direct
// clients wait in a small queue, first come first served, until their deadline. Knows no HTTP and no pictures.
//
// A balancer never waits here, it comes back; so whoever waits would always be before it. Therefore the two take turns:
// when a direct client's picture ends and a balancer was told "busy" just before, the slot is kept for a balancer for a
// short time. It is given to the next who waits when nobody comes.
//
//              claimed                       given back, nobody waits
//    free ────────────────► taken ───────────────────────────────────────────────► free
//                           ▲  │ given back by a direct client, a balancer had asked
//      balancer comes, or   │  ▼
//      the time is over     └─ kept ── the time is over, nobody waits ──► free

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

/** A balancer that was told "busy" so long ago has found another worker, or would have asked again. */
const ASKED_LATELY_MS = 100;
/** For so long the slot is kept: balancers come back after 25 to 35 ms. */
const KEPT_MS = 60;

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
  #holder: 'attempt' | 'direct' = 'direct';
  /** When a balancer was last told "busy". */
  #askedAt = Number.NEGATIVE_INFINITY;
  /** Ends the keeping for a balancer; undefined while it is not kept. */
  #endKeeping: (() => void) | undefined;
  #takenAt = 0;
  #taken = 0;
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

  /** How often the slot was taken. */
  get taken(): number {
    return this.#taken;
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
    if (!this.#busy && !this.#endKeeping) return 0;
    const running = this.#busy
      ? Math.max(0, this.#holdMs - (this.#clock.now() - this.#takenAt))
      : this.#holdMs;
    return running + this.#queue.length * this.#holdMs;
  }

  /** Takes the slot if it is free and nobody waits for it. */
  tryClaim(): Release | undefined {
    return this.#busy || this.#endKeeping ? undefined : this.#take('direct');
  }

  /** The same for a balancer's request; told "busy" by undefined, it will soon find the slot kept for it. */
  tryAttempt(): Release | undefined {
    if (!this.#busy) return this.#take('attempt');
    this.#askedAt = this.#clock.now();
    return undefined;
  }

  /**
   * Takes the slot, waiting for it if need be.
   * @param deadline When waiting is worth nothing any more, on the slot's clock.
   * @param signal Aborted when the client leaves.
   * @throws {ToonError} `overloaded` when the queue is full or the deadline passes first; `client_gone`.
   */
  claim(deadline: number, signal?: AbortSignal): Promise<Release> {
    if (signal?.aborted) return Promise.reject(new ToonError('client_gone'));
    if (!this.#busy && !this.#endKeeping) return Promise.resolve(this.#take('direct'));
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

  #take(holder: 'attempt' | 'direct'): Release {
    this.#endKeeping?.();
    this.#busy = true;
    this.#taken += 1;
    this.#holder = holder;
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
    // Where nobody may wait, whoever comes meanwhile would be refused in front of a free slot.
    if (this.#holder === 'direct' && now - this.#askedAt <= ASKED_LATELY_MS && this.#queueLength > 0)
      this.#keep();
    else this.#admitNext();
  }

  #keep(): void {
    this.#askedAt = Number.NEGATIVE_INFINITY;
    const forget = this.#clock.after(KEPT_MS, () => {
      this.#endKeeping = undefined;
      this.#admitNext();
    });
    this.#endKeeping = () => {
      this.#endKeeping = undefined;
      forget();
    };
  }

  #admitNext(): void {
    const next = this.#queue.shift();
    if (!next) return;
    next.forget();
    next.admit(this.#take('direct'));
  }
}
