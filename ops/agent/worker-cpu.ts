// How much of its core each worker keeps busy, from its CPU time as it grows. Pure: times and counters are arguments.
// The other programs of the VM do not count: a backup is no reason for another worker.

/** One look at one worker. CPU time in s, the moment in ms. */
interface Look {
  readonly at: number;
  readonly cpuSeconds: number;
}

/** A worker as it was found. */
export interface Found {
  readonly pid: number;
  readonly ready: boolean;
  /** Undefined when the process is not there. */
  readonly cpuSeconds: number | undefined;
}

export interface Shares {
  /** Of the workers that have been ready for long enough, 0 to 1. */
  readonly values: readonly number[];
  /** How many more are ready. */
  readonly unmeasured: number;
}

/** The looks of the last `windowMs` at every worker that is ready; loading a model is no load. */
export class WorkerCpu {
  readonly #windowMs: number;
  #looks = new Map<number, readonly Look[]>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  note(workers: readonly Found[], now: number): void {
    const looks = new Map<number, readonly Look[]>();
    for (const { pid, ready, cpuSeconds } of workers) {
      if (!ready || cpuSeconds === undefined) continue;
      const before = (this.#looks.get(pid) ?? []).filter(({ at }) => now - at <= this.#windowMs);
      looks.set(pid, [...before, { at: now, cpuSeconds }]);
    }
    this.#looks = looks;
  }

  /** Who has not been looked at for half of the window cannot be judged. */
  shares(): Shares {
    const values: number[] = [];
    for (const looks of this.#looks.values()) {
      const [first] = looks;
      const last = looks.at(-1);
      if (!first || !last || last.at - first.at < this.#windowMs / 2) continue;
      const share = ((last.cpuSeconds - first.cpuSeconds) * 1000) / (last.at - first.at);
      values.push(Math.min(1, Math.max(0, share)));
    }
    return { values, unmeasured: this.#looks.size - values.length };
  }
}
