// What balancers say of their queues and times when they ask for the roster. Pure: the moment is an argument.
//
// It comes with their question, so that everything goes one way: an agent knows no balancer's address, needs no way to an
// admin port that listens on loopback, and hears of a new balancer by its first question.

import type { BalancerLoad } from '../../config/contract.ts';

interface Heard {
  readonly load: BalancerLoad;
  readonly at: number;
}

/** The loads of all balancers. One that has been silent for `windowMs` is gone. */
export class BalancerLoads {
  readonly #windowMs: number;
  readonly #heard = new Map<string, Heard>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  hear(balancer: string, load: BalancerLoad, now: number): void {
    this.#forget(now);
    this.#heard.set(balancer, { load, at: now });
  }

  /** Queues add up, and the slowest balancer's times count; undefined while no balancer asks. */
  sum(now: number): BalancerLoad | undefined {
    this.#forget(now);
    const loads = [...this.#heard.values()].map(({ load }) => load);
    if (loads.length === 0) return undefined;
    const worst = (of: (load: BalancerLoad) => number) => Math.max(...loads.map(of));
    return {
      queue: loads.reduce((all, { queue }) => all + queue, 0),
      mean: worst(({ mean }) => mean),
      p95: worst(({ p95 }) => p95),
      wait: worst(({ wait }) => wait),
    };
  }

  #forget(now: number): void {
    for (const [name, { at }] of this.#heard) if (now - at > this.#windowMs) this.#heard.delete(name);
  }
}
