// Who holds the connections of a public port. While there is room everybody is let in; when there is none, one that does
// nothing is taken from whoever holds the most. So nobody keeps others out by opening thousands of connections, and no
// number has to be found that is enough for an office behind one address and too little for an attacker. Pure: knows no
// sockets and no clocks.

/** One connection. */
export interface Connection {
  /** Whose it is: an address, or for IPv6 the network that one customer is given. */
  readonly network: string;
  /** It is never taken for others: a trusted proxy's, which are many clients'. */
  readonly spared: boolean;
  /** Whether a request is under way on it; a head that is still coming is none. */
  readonly busy: () => boolean;
  readonly close: () => void;
}

/** At most so many connections at once. */
export class Connections {
  readonly #most: number;
  /** In the order in which they came. */
  readonly #byNetwork = new Map<string, Set<Connection>>();
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a newcomer in, if need be in the place of another one, which is closed; false when it has to go itself. */
  admit(newcomer: Connection): boolean {
    if (this.#count >= this.#most) {
      const idle = this.#oneTooMany(newcomer);
      if (!idle) return false;
      this.leave(idle);
      idle.close();
    }
    const held = this.#byNetwork.get(newcomer.network) ?? new Set();
    this.#byNetwork.set(newcomer.network, held.add(newcomer));
    this.#count += 1;
    return true;
  }

  /** It is closed. Does nothing the second time. */
  leave(connection: Connection): void {
    const held = this.#byNetwork.get(connection.network);
    if (!held?.delete(connection)) return;
    this.#count -= 1;
    if (held.size === 0) this.#byNetwork.delete(connection.network);
  }

  /** The oldest idle connection of the network that holds the most; never of one that would then hold less than the newcomer's. */
  #oneTooMany({ network }: Connection): Connection | undefined {
    const own = this.#byNetwork.get(network)?.size ?? 0;
    const larger = [...this.#byNetwork.values()].filter(({ size }) => size > own + 1);
    for (const held of larger.sort((one, other) => other.size - one.size))
      for (const connection of held) if (!connection.spared && !connection.busy()) return connection;
    return undefined;
  }
}
