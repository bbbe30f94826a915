// The notices of one channel on their way: in order, not too many a minute, again when it went wrong, and none twice. Knows
// no service; the clock and the timer are arguments.

import { type Rate, TokenBucket } from '../../../balancer/limits/token-bucket.ts';
import { identityOf, type Notice } from './notice.ts';
import type { Outcome } from './outcome.ts';

/** How a notice ended. */
export type End = 'sent' | 'failed';

/** What an outbox works with. */
export interface OutboxParts {
  /** At most so many attempts. */
  readonly rate: Rate;
  /** How many notices one attempt may carry. */
  readonly together: number;
  readonly send: (notices: readonly Notice[]) => Promise<Outcome>;
  readonly now: () => number;
  /** Calls back after so many ms. */
  readonly later: (ms: number, run: () => void) => void;
  /** From 0 to 1; two relays that failed together shall not come back together. */
  readonly random: () => number;
  readonly settled: (end: End, notices: number, why: string | undefined) => void;
  readonly retried: (why: string) => void;
}

/** A notice that could not be told within this time is old news, and Alertmanager says it again anyhow. */
const GIVE_UP_MS = 15 * 60_000;
/** A notice that was sent is not sent again within this time; Alertmanager's own repetitions are hours apart. */
const REMEMBER_MS = 5 * 60_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** Beyond it the oldest are given up; a storm is told by its first and its latest notices. */
const CAPACITY = 500;

interface Letter {
  readonly notice: Notice;
  readonly identity: string;
  readonly since: number;
  readonly done: Promise<End>;
  readonly settle: (end: End) => void;
}

/** How long to wait before the next attempt after so many failed ones, ms: doubling, up to a minute, never all at once. */
export function pauseAfter(failures: number, random: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1));
  return full * (0.5 + random / 2);
}

/** One channel's outbox. */
export class Outbox {
  readonly #parts: OutboxParts;
  readonly #bucket: TokenBucket;
  readonly #sent = new Map<string, number>();
  #letters: Letter[] = [];
  #failures = 0;
  #busy = false;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#bucket = new TokenBucket(parts.rate);
  }

  get waiting(): number {
    return this.#letters.length;
  }

  /** Passes a notice on; one that is on its way already, or went a short while ago, is not sent twice. */
  deliver(notice: Notice): Promise<End> {
    const now = this.#parts.now();
    const identity = identityOf(notice);
    for (const [old, at] of this.#sent) if (now - at > REMEMBER_MS) this.#sent.delete(old);
    if (this.#sent.has(identity)) return Promise.resolve('sent');
    const known = this.#letters.find((letter) => letter.identity === identity);
    if (known) return known.done;
    const { promise, resolve } = withResolvers<End>();
    this.#letters.push({ notice, identity, since: now, done: promise, settle: resolve });
    if (this.#letters.length > CAPACITY) this.#end(this.#letters.slice(0, 1), 'failed', 'too many wait');
    this.#go();
    return promise;
  }

  #go(): void {
    if (this.#busy || this.#letters.length === 0) return;
    this.#busy = true;
    const wait = this.#bucket.waitMs(this.#parts.now());
    if (wait > 0) this.#parts.later(wait, () => this.#again());
    else void this.#attempt();
  }

  #again(): void {
    this.#busy = false;
    this.#go();
  }

  async #attempt(): Promise<void> {
    const { send, now, later, random, retried } = this.#parts;
    this.#bucket.take(now());
    const batch = this.#letters.slice(0, this.#parts.together);
    // A hook cannot be run with every text that a notice may hold; the others must not wait behind it for ever.
    const outcome = await send(batch.map(({ notice }) => notice)).catch(
      (error: unknown): Outcome => ({
        kind: 'never',
        why: error instanceof Error ? error.message : 'unknown',
      }),
    );
    switch (outcome.kind) {
      case 'sent':
        this.#failures = 0;
        for (const { identity } of batch) this.#sent.set(identity, now());
        this.#end(batch, 'sent');
        return this.#again();
      case 'never':
        this.#failures = 0;
        this.#end(batch, 'failed', outcome.why);
        return this.#again();
      case 'later': {
        this.#failures++;
        const old = batch.filter(({ since }) => now() - since >= GIVE_UP_MS);
        if (old.length > 0) this.#end(old, 'failed', outcome.why);
        else retried(outcome.why);
        later(outcome.afterMs ?? pauseAfter(this.#failures, random()), () => this.#again());
      }
    }
  }

  #end(letters: readonly Letter[], end: End, why?: string): void {
    // One that was given up for want of room may be on its way: it has ended already.
    const ending = letters.filter((letter) => this.#letters.includes(letter));
    this.#letters = this.#letters.filter((letter) => !ending.includes(letter));
    if (ending.length > 0) this.#parts.settled(end, ending.length, why);
    for (const { settle } of ending) settle(end);
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
