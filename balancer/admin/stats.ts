// The short summary of /internal/stats: requests and errors a second and mean response time over the last minute. Pure.

/** Counts per second over a sliding window of whole seconds. */
export class Stats {
  readonly #seconds: number;
  readonly #slots: { second: number; requests: number; errors: number; ms: number }[];

  constructor(seconds = 60) {
    this.#seconds = seconds;
    this.#slots = Array.from({ length: seconds + 1 }, () => ({ second: -1, requests: 0, errors: 0, ms: 0 }));
  }

  /** Notes one answered request; `now` in ms. */
  note(now: number, ms: number, failed: boolean): void {
    const second = Math.floor(now / 1000);
    const slot = this.#slots[second % this.#slots.length];
    if (!slot) return;
    if (slot.second !== second) Object.assign(slot, { second, requests: 0, errors: 0, ms: 0 });
    slot.requests += 1;
    slot.ms += ms;
    if (failed) slot.errors += 1;
  }

  /** Over the last whole seconds before `now`; the running second is left out, since it is not over. */
  read(now: number): { qps: number; meanMs: number; errorsPerSecond: number } {
    const current = Math.floor(now / 1000);
    let requests = 0;
    let errors = 0;
    let ms = 0;
    for (const slot of this.#slots) {
      if (slot.second >= current || slot.second < current - this.#seconds) continue;
      requests += slot.requests;
      errors += slot.errors;
      ms += slot.ms;
    }
    return {
      qps: requests / this.#seconds,
      meanMs: requests === 0 ? 0 : ms / requests,
      errorsPerSecond: errors / this.#seconds,
    };
  }
}
