// A binary heap of events by time. Pure.
// Invariant: every entry is due no earlier than its parent, which stands at (index - 1) >> 1.

/** Something that is due. */
export interface Due {
  readonly atMs: number;
}

/** Gives out what is due first. */
export class Heap<E extends Due> {
  readonly #entries: E[] = [];

  get size(): number {
    return this.#entries.length;
  }

  put(entry: E): void {
    const entries = this.#entries;
    let index = entries.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = entries[parent];
      if (above === undefined || above.atMs <= entry.atMs) break;
      entries[index] = above;
      index = parent;
    }
    entries[index] = entry;
  }

  take(): E | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const [a, b] = [entries[left], entries[left + 1]];
      const [child, at] = b !== undefined && a !== undefined && b.atMs < a.atMs ? [b, left + 1] : [a, left];
      if (child === undefined || child.atMs >= last.atMs) break;
      entries[index] = child;
      index = at;
    }
    entries[index] = last;
    return first;
  }
}
