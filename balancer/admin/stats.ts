// The short summary of /internal/stats: requests and errors a second and mean response time over the last minute. Pure.

import { SecondRing } from '../schedule/second-ring.ts';

/** Counts per second over a sliding window of whole seconds. */
export class Stats {
  readonly #seconds: number;
  readonly #ring: SecondRing<{ requests: number; errors: number; ms: number }>;

  constructor(seconds = 60) {
    this.#seconds = seconds;
    const nothing = { requests: 0, errors: 0, ms: 0 };
    this.#ring = new SecondRing(
      seconds + 1,
      () => ({ ...nothing }),
      (counts) => Object.assign(counts, nothing),
    );
  }

  /** Notes one answered request; `now` in ms. */
  note(now: number, ms: number, failed: boolean): void {
    const counts = this.#ring.at(now);
    counts.requests += 1;
    counts.ms += ms;
    if (failed) counts.errors += 1;
  }

  /** Over the last whole seconds before `now`; the running second is left out, since it is not over. */
  read(now: number): { qps: number; meanMs: number; errorsPerSecond: number } {
    let requests = 0;
    let errors = 0;
    let ms = 0;
    for (const counts of this.#ring.last(now, this.#seconds, 'whole-only')) {
      requests += counts.requests;
      errors += counts.errors;
      ms += counts.ms;
    }
    return {
      qps: requests / this.#seconds,
      meanMs: requests === 0 ? 0 : ms / requests,
      errorsPerSecond: errors / this.#seconds,
    };
  }
}
