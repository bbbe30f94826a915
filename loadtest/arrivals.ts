// When pictures are sent: an open model's arrivals, which do not wait for answers. Pure.
// All steps of a run stretch the same unit gaps, so that two rates meet the same bursts and differ in nothing else;
// that makes a search for the ceiling repeat itself.

import type { Random } from './random.ts';

/** How the gaps between arrivals are spread. Real users are `poisson`; `constant` shows the machine alone. */
export const arrivalKinds = ['poisson', 'constant'] as const;
export type ArrivalKind = (typeof arrivalKinds)[number];

/** A stretch of time with one rate. */
export interface Stretch {
  /** Pictures a second; 0 is a pause. */
  readonly rate: number;
  readonly seconds: number;
}

/** The most arrivals that one schedule may hold: 2000 a second for an hour. */
export const MAX_ARRIVALS = 7_200_000;

/**
 * The moments, in ms from the start, at which pictures are due; rising. Gaps are drawn with mean 1 and stretched by
 * the rate of the moment, also across the border of two stretches.
 * @throws {RangeError} when a rate or a length is not a number from 0 up, or the schedule would be too long.
 */
export function schedule(stretches: readonly Stretch[], kind: ArrivalKind, random: Random): Float64Array {
  const expected = stretches.reduce((sum, { rate, seconds }) => {
    if (!(rate >= 0) || !(seconds >= 0) || !Number.isFinite(rate * seconds)) {
      throw new RangeError(`a stretch needs a rate and a length from 0 up, found ${rate}/s for ${seconds} s`);
    }
    return sum + rate * seconds;
  }, 0);
  if (expected > MAX_ARRIVALS)
    throw new RangeError(`${Math.round(expected)} arrivals are more than ${MAX_ARRIVALS}`);

  const due: number[] = [];
  let startMs = 0;
  let gap = nextGap(kind, random);
  for (const { rate, seconds } of stretches) {
    const endMs = startMs + seconds * 1000;
    let atMs = startMs;
    while (rate > 0) {
      const nextMs = atMs + (gap * 1000) / rate;
      if (nextMs >= endMs) {
        gap -= ((endMs - atMs) * rate) / 1000;
        break;
      }
      due.push(nextMs);
      atMs = nextMs;
      gap = nextGap(kind, random);
    }
    startMs = endMs;
  }
  return Float64Array.from(due);
}

function nextGap(kind: ArrivalKind, random: Random): number {
  switch (kind) {
    case 'constant':
      return 1;
    case 'poisson':
      // 1 - random() is never 0, so that the logarithm is finite.
      return -Math.log(1 - random());
  }
}
