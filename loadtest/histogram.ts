// Durations in ms as an HDR histogram: percentiles to three digits at any count, in constant memory.
// The only file that knows hdr-histogram-js. Pure.

import { build, type Histogram } from 'hdr-histogram-js';

/** Ten minutes in µs; longer than any timeout that the load test accepts. */
const LONGEST_US = 600_000_000;

/** What a report says of many durations, ms. */
export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Many durations. */
export class Durations {
  readonly #histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    numberOfSignificantValueDigits: 3,
  });

  add(ms: number): void {
    this.#histogram.recordValue(Math.min(LONGEST_US, Math.max(0, Math.round(ms * 1000))));
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** The duration that `percent` of all do not exceed, ms; 0 when there are none. */
  at(percent: number): number {
    return this.count === 0 ? 0 : this.#histogram.getValueAtPercentile(percent) / 1000;
  }

  /** All that a report shows, or null when there are no durations. */
  percentiles(): Percentiles | null {
    if (this.count === 0) return null;
    const round = (ms: number) => Math.round(ms * 1000) / 1000;
    return {
      mean: round(this.#histogram.mean / 1000),
      p50: round(this.at(50)),
      p90: round(this.at(90)),
      p95: round(this.at(95)),
      p99: round(this.at(99)),
      max: round(this.#histogram.maxValue / 1000),
    };
  }
}
