// What a worker says of itself: loading, ready or draining, and why it is not ready.
//
//   loading ──proven──► ready ──drain──► draining (for good)
//      ▲                  │
//      └────── fault ─────┘            loading ──drain──► draining
//
// A golden picture that goes wrong later brings a worker back to loading, until it goes right again.

import type { WorkerState } from '../config/contract.ts';

/** What happened to a worker. */
export type ReadinessEvent =
  | { readonly kind: 'proven' }
  | { readonly kind: 'fault'; readonly detail: string }
  | { readonly kind: 'drain' };

/** A worker's state, and for `loading` why it is not ready. */
export interface Condition {
  readonly state: WorkerState;
  readonly detail: string | undefined;
}

/** The one transition function. Pure. */
export function next(condition: Condition, event: ReadinessEvent): Condition {
  if (condition.state === 'draining') return condition;
  switch (event.kind) {
    case 'proven':
      return { state: 'ready', detail: undefined };
    case 'fault':
      return { state: 'loading', detail: event.detail };
    case 'drain':
      return { state: 'draining', detail: undefined };
  }
}

/** Holds the condition and tells when its state changes. */
export class Readiness {
  #condition: Condition = { state: 'loading', detail: 'the models are being loaded' };
  readonly #onChange: (condition: Condition) => void;

  constructor(onChange: (condition: Condition) => void = () => {}) {
    this.#onChange = onChange;
  }

  get state(): WorkerState {
    return this.#condition.state;
  }

  get detail(): string | undefined {
    return this.#condition.detail;
  }

  happened(event: ReadinessEvent): void {
    const before = this.#condition;
    this.#condition = next(before, event);
    if (this.#condition.state !== before.state || this.#condition.detail !== before.detail)
      this.#onChange(this.#condition);
  }
}
