// The allowances of all clients that are told apart by their addresses, in bounded memory. Pure.
//
// Forgetting a client that has spent its tokens would give them back, so that an attacker with many addresses could
// reset a limit by pushing its own entry out. Therefore only a restored allowance is ever forgotten. While the table is
// full of others, newcomers share the allowance of the wider network that they come from; and when there are too many
// of these as well, one that is for everybody else. Memory stays bounded, no limit is ever reset, and the cost falls
// first on the neighbours of who fills the table.

import { networkOf } from '../../config/address.ts';
import { Allowance, type Limits } from './allowance.ts';

/** The wider network around a client: what one customer is usually given, and what its provider's neighbours share. */
const WIDE_BITS = { v4: 24, v6: 48 } as const;
/** How many of the longest untouched entries are looked at to make room for a newcomer. */
const LOOKS = 16;

export class Clients {
  readonly #limits: Limits;
  readonly #ipv6Prefix: number;
  readonly #near: BoundedTable;
  readonly #wide: BoundedTable;
  readonly #others: Allowance;

  constructor(limits: Limits, { most, ipv6Prefix }: { readonly most: number; readonly ipv6Prefix: number }) {
    this.#limits = limits;
    this.#ipv6Prefix = ipv6Prefix;
    this.#near = new BoundedTable(most);
    this.#wide = new BoundedTable(Math.ceil(most / 8));
    this.#others = new Allowance(limits);
  }

  /** The allowance that a client's request is counted on. The address is canonical. */
  of(address: string, now: number): Allowance {
    const make = () => new Allowance(this.#limits);
    return (
      this.#near.touch(networkOf(address, { v4: 32, v6: this.#ipv6Prefix }), now, make) ??
      this.#wide.touch(networkOf(address, WIDE_BITS), now, make) ??
      this.#others
    );
  }

  /** How many are remembered. */
  get size(): number {
    return this.#near.size + this.#wide.size;
  }
}

/** At most so many allowances, in the order in which they were touched. */
class BoundedTable {
  readonly #most: number;
  readonly #entries = new Map<string, Allowance>();

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The entry, made when there is room for it; undefined when there is none. */
  touch(key: string, now: number, make: () => Allowance): Allowance | undefined {
    const known = this.#entries.get(key);
    if (known) {
      this.#toEnd(key, known);
      return known;
    }
    if (this.#entries.size >= this.#most) this.#forgetRestored(now);
    if (this.#entries.size >= this.#most) return undefined;
    const made = make();
    this.#entries.set(key, made);
    return made;
  }

  #forgetRestored(now: number): void {
    let looks = LOOKS;
    for (const [key, allowance] of this.#entries) {
      if (looks === 0) return;
      looks -= 1;
      if (allowance.isRestored(now)) this.#entries.delete(key);
      // It may be under way for long; it would stand in the way of those behind it.
      else if (allowance.underWay) this.#toEnd(key, allowance);
    }
  }

  #toEnd(key: string, allowance: Allowance): void {
    this.#entries.delete(key);
    this.#entries.set(key, allowance);
  }
}
