// The trace of the balancer's bench: pictures of two sizes, due by chance with a seed, and what an ideal central queue
// without any cost of its own would make of them. Pure.

import { Queue } from '../../balancer/schedule/queue.ts';
import { schedule } from '../arrivals.ts';
import { seededFor } from '../random.ts';

/** What pictures cost a worker, and how many are large. */
export interface Mix {
  readonly smallMs: number;
  readonly largeMs: number;
  /** 0-1. */
  readonly largeShare: number;
}

/** What the sleepers are told to sleep. */
export const SMALL_MS = 40;
export const LARGE_MS = 400;
export const SLEEPERS_MIX: Mix = { smallMs: SMALL_MS, largeMs: LARGE_MS, largeShare: 0.1 };

/** Ms of one picture, over the mix. */
export const meanMs = ({ smallMs, largeMs, largeShare }: Mix) =>
  smallMs * (1 - largeShare) + largeMs * largeShare;

/** One picture of the trace. */
export interface Due {
  readonly atMs: number;
  readonly large: boolean;
}

/** Pictures of so many seconds at a load (1 is all slots busy). */
export function traceOf(
  load: number,
  slots: number,
  seconds: number,
  seed: number,
  mix: Mix = SLEEPERS_MIX,
): Due[] {
  const rate = (load * slots * 1000) / meanMs(mix);
  const sizes = seededFor(seed, 'sizes');
  return [...schedule([{ rate, seconds }], 'poisson', seededFor(seed, 'arrivals'))].map((atMs) => ({
    atMs,
    large: sizes() < mix.largeShare,
  }));
}

/** What the ideal makes of each picture: its latency, or undefined when it was refused for its deadline. */
export function idealFifo(
  trace: readonly Due[],
  slots: number,
  deadlineMs: number,
  mix: Mix = SLEEPERS_MIX,
): (number | undefined)[] {
  interface Picture {
    readonly index: number;
    readonly arrivedAt: number;
    readonly deadlineAt: number;
    readonly expectedMs: number;
    readonly priority: 'interactive';
  }
  const queue = new Queue<Picture>({ bound: Number.POSITIVE_INFINITY, order: 'fifo', overloadMs: 0 });
  const latencies: (number | undefined)[] = trace.map(() => undefined);
  const endings: number[] = [];
  const serve = (now: number) => {
    while (endings.length < slots && queue.length > 0) {
      const { next } = queue.take(now, () => true);
      if (!next) return;
      const end = now + next.expectedMs;
      latencies[next.index] = end - next.arrivedAt;
      endings.push(end);
      endings.sort((a, b) => a - b);
    }
  };
  const endBefore = (limit: number) => {
    for (let end = endings[0]; end !== undefined && end <= limit; end = endings[0]) {
      endings.shift();
      serve(end);
    }
  };
  for (const [index, { atMs, large }] of trace.entries()) {
    endBefore(atMs);
    queue.join({
      index,
      arrivedAt: atMs,
      deadlineAt: atMs + deadlineMs,
      expectedMs: large ? mix.largeMs : mix.smallMs,
      priority: 'interactive',
    });
    serve(atMs);
  }
  endBefore(Number.POSITIVE_INFINITY);
  return latencies;
}
