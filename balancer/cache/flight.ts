// One drawing for equal requests at the same time: the first one leads, the others follow. Pure: knows no timers and no
// sockets, only promises.
//
//            join                       land: all who follow share it
//   (none) ───────► a leader draws ──────────────────────────────────► ended
//                    ▲    │   │        disperse: nothing to share, each goes alone
//          first of  │    │   └──────────────────────────────────────► ended
//     the followers  └────┘ fail: the lead passes on; nobody to take it, or too many 502 in a row: ended

import { ToonError } from '../../config/errors.ts';
import type { Priority } from '../schedule/queue.ts';

/** What a caller is to do. Each caller gets one. */
export type Turn<T> =
  /** Draw, and say how it ended. */
  | { readonly kind: 'lead'; readonly lead: Lead<T> }
  /** Somebody else drew it. */
  | { readonly kind: 'shared'; readonly value: T }
  /** There is nothing to share: draw for yourself. */
  | { readonly kind: 'alone' }
  /** Several leaders failed in a way that would repeat. */
  | { readonly kind: 'failed'; readonly error: ToonError }
  /** The caller left. `running`: its picture was on a worker at that moment. */
  | { readonly kind: 'left'; readonly running: boolean };

/** How a leader says how it ended; only the first word counts. */
export interface Lead<T> {
  /** The drawing, for all who follow. */
  land(value: T): void;
  /** An answer that cannot be shared. */
  disperse(): void;
  /** No answer: the next one takes over. */
  fail(error: unknown): void;
}

/** A caller's place in a flight. */
export interface Place<T> {
  readonly turn: Promise<Turn<T>>;
  /** Gives the place up; for a leader, and after the turn has come, this does nothing. */
  leave(): void;
}

interface Follower<T> {
  readonly priority: Priority;
  readonly running: () => boolean;
  readonly resolve: (turn: Turn<T>) => void;
}

interface Flight<T> {
  readonly key: string;
  /** In arrival order. */
  readonly followers: Follower<T>[];
  priority: Priority;
  /** Whether the leader's picture is on a worker. */
  running: () => boolean;
  /** Leaders that failed on two workers each. */
  poisoned: number;
}

/**
 * A request that lost two workers is 502, so that a poison picture does not kill the fleet. Were the lead passed on
 * without end, each follower of such a picture would cost two more.
 */
export const MAX_POISONED = 2;

/** The drawings under way. */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** How many drawings are led now. */
  get size(): number {
    return this.#flights.size;
  }

  /** How many callers wait for the drawing of somebody else. */
  get waiting(): number {
    let waiting = 0;
    for (const { followers } of this.#flights.values()) waiting += followers.length;
    return waiting;
  }

  /**
   * Joins the drawing of this key, or begins it. A live user never follows a leader of class batch, who may stand far
   * behind in the line; he leads a drawing of his own.
   * @param running Whether this caller's picture is on a worker, should it lead.
   */
  join(key: string, priority: Priority, running: () => boolean): Place<T> {
    const flight = this.#flights.get(key);
    if (!flight || (flight.priority === 'batch' && priority === 'interactive')) {
      const fresh: Flight<T> = { key, followers: [], priority, running, poisoned: 0 };
      this.#flights.set(key, fresh);
      return { turn: Promise.resolve({ kind: 'lead', lead: this.#leadOf(fresh) }), leave() {} };
    }
    let follower: Follower<T> | undefined;
    const turn = new Promise<Turn<T>>((resolve) => {
      follower = { priority, running, resolve };
      flight.followers.push(follower);
    });
    return {
      turn,
      leave() {
        const at = follower === undefined ? -1 : flight.followers.indexOf(follower);
        if (at === -1) return;
        flight.followers.splice(at, 1);
        follower?.resolve({ kind: 'left', running: flight.running() });
      },
    };
  }

  #leadOf(flight: Flight<T>): Lead<T> {
    let over = false;
    const once = (act: () => void) => {
      if (over) return;
      over = true;
      act();
    };
    return {
      land: (value) => once(() => this.#end(flight, { kind: 'shared', value })),
      disperse: () => once(() => this.#end(flight, { kind: 'alone' })),
      fail: (error) => once(() => this.#passOn(flight, error)),
    };
  }

  #end(flight: Flight<T>, turn: Turn<T>): void {
    // A flight of batch work may have been displaced by a live user's.
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
    for (const { resolve } of flight.followers.splice(0)) resolve(turn);
  }

  #passOn(flight: Flight<T>, error: unknown): void {
    if (error instanceof ToonError && error.code === 'upstream_failed') {
      flight.poisoned += 1;
      if (flight.poisoned >= MAX_POISONED) {
        this.#end(flight, { kind: 'failed', error });
        return;
      }
    }
    // Live users first: behind a batch leader they would wait for what they never asked for.
    const live = flight.followers.findIndex(({ priority }) => priority === 'interactive');
    const [next] = flight.followers.splice(Math.max(0, live), 1);
    if (!next) {
      this.#end(flight, { kind: 'alone' });
      return;
    }
    flight.priority = next.priority;
    flight.running = next.running;
    next.resolve({ kind: 'lead', lead: this.#leadOf(flight) });
  }
}
