// What happens to the fleet, told to those who listen (`GET /admin/v1/events`). Keeps the last events, so that a
// listener whose connection broke misses none. Knows neither HTTP nor what an event means.

/** One thing that happened. */
export interface FleetEvent {
  /** Counts up from 1 in this balancer's life. */
  readonly id: number;
  readonly name: EventName;
  readonly data: Readonly<Record<string, unknown>>;
}

export type EventName =
  /** An upstream is in another state. */
  | 'upstream'
  /** A node came, went, is drained, works again, or its agent fell silent. */
  | 'node'
  /** Weights were set. */
  | 'traffic'
  /** A canary went by itself. */
  | 'rollback'
  | 'paused'
  | 'resumed';

/** So many are kept for who comes back. */
const KEPT = 200;

export class Events {
  readonly #kept: FleetEvent[] = [];
  readonly #listeners = new Set<(event: FleetEvent) => void>();
  #last = 0;

  tell(name: EventName, data: Readonly<Record<string, unknown>>): void {
    const event = { id: ++this.#last, name, data };
    this.#kept.push(event);
    if (this.#kept.length > KEPT) this.#kept.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** Listens from now on; the answer ends that. With `after`, first hears what came behind that event. */
  listen(listener: (event: FleetEvent) => void, after?: number): () => void {
    // An id from the future is from another life of the balancer: all that is kept is news.
    if (after !== undefined)
      for (const event of this.#kept) if (event.id > after || after > this.#last) listener(event);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
