// How the last seconds were: what pictures took, how long they waited for a slot, and how many slots were taken. What agents
// and autoscaling are told. Pure: the clock is an argument.

import { SecondRing } from './second-ring.ts';

/** Times in ms. */
export interface Recent {
  readonly mean: number;
  readonly p95: number;
  readonly wait: number;
  /** Slots that were taken, on average over the looks. */
  readonly busy: number;
}

/** Long enough to hold a few pictures, short enough to show a rush. */
const WINDOW_S = 15;
/** Each bucket reaches a tenth further than the one before: 1 ms, 1.1 ms, … beyond an hour. */
const BUCKETS = 160;
const STEP = Math.log(1.1);

interface Second {
  pictures: number;
  ms: number;
  waitMs: number;
  looks: number;
  busy: number;
  readonly buckets: Uint32Array;
}

/** A sliding window of whole seconds, the running one included. */
export class RecentLoad {
  readonly #seconds = new SecondRing<Second>(
    WINDOW_S,
    () => ({ pictures: 0, ms: 0, waitMs: 0, looks: 0, busy: 0, buckets: new Uint32Array(BUCKETS) }),
    (second) => {
      second.buckets.fill(0);
      Object.assign(second, { pictures: 0, ms: 0, waitMs: 0, looks: 0, busy: 0 });
    },
  );

  /** A picture was answered, or given up. */
  note(now: number, ms: number, waitMs: number): void {
    const slot = this.#seconds.at(now);
    slot.pictures += 1;
    slot.ms += ms;
    slot.waitMs += waitMs;
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log(Math.max(1, ms)) / STEP)));
    slot.buckets[bucket] = (slot.buckets[bucket] ?? 0) + 1;
  }

  /** So many slots are taken now. */
  look(now: number, busy: number): void {
    const slot = this.#seconds.at(now);
    slot.looks += 1;
    slot.busy += busy;
  }

  read(now: number): Recent {
    const slots = this.#seconds.last(now, WINDOW_S, 'with-running');
    const sum = (of: (slot: Second) => number) => slots.reduce((all, slot) => all + of(slot), 0);
    const pictures = sum((slot) => slot.pictures);
    const looks = sum((slot) => slot.looks);
    const per = (total: number, count: number) => (count === 0 ? 0 : total / count);
    return {
      mean: per(
        sum(({ ms }) => ms),
        pictures,
      ),
      p95: percentile(slots, pictures),
      wait: per(
        sum(({ waitMs }) => waitMs),
        pictures,
      ),
      busy: per(
        sum(({ busy }) => busy),
        looks,
      ),
    };
  }
}

/** The upper edge of the bucket in which the 95th of a hundred lies: at most a tenth too much. */
function percentile(slots: readonly Second[], pictures: number): number {
  if (pictures === 0) return 0;
  const rank = Math.ceil(pictures * 0.95);
  let seen = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    for (const { buckets } of slots) seen += buckets[bucket] ?? 0;
    if (seen >= rank) return Math.exp(bucket * STEP);
  }
  return Math.exp(BUCKETS * STEP);
}
