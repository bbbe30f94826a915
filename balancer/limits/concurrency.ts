// How many at once: places, one a request that is under way. Pure. Knows no clients and no HTTP.

export class Concurrency {
  readonly most: number;
  #taken = 0;

  constructor(most: number) {
    this.most = most;
  }

  get taken(): number {
    return this.#taken;
  }

  get free(): number {
    return Math.max(0, this.most - this.#taken);
  }

  /** Takes a place; the answer gives it back, once however often it is called. Call it only where one is free. */
  take(): () => void {
    this.#taken += 1;
    let held = true;
    return () => {
      if (held) this.#taken -= 1;
      held = false;
    };
  }
}
