// Counts the memory that uploads and answers in passing hold, against one bound. Pure.

/** Bytes in passing. Uploads ask before they come; answers are counted as they are, since refusing them saves nothing. */
export class BufferBudget {
  readonly bound: number;
  #held = 0;

  constructor(bound: number) {
    this.bound = bound;
  }

  get held(): number {
    return this.#held;
  }

  /** Reserves bytes; false when they do not fit. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.bound) return false;
    this.#held += bytes;
    return true;
  }

  /** Counts bytes that are here already. */
  count(bytes: number): void {
    this.#held += bytes;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}
