// Chooses the upstream for one attempt: least connections for its slots, away from nodes that were tried, ties by lot.
// Pure. Sees load and availability only; never addresses, sockets or clocks. Availability is the pool's to judge.

/** What the choice needs to know of an upstream that could take the attempt now. */
export interface Candidate {
  readonly id: string;
  readonly node: string | undefined;
  readonly slots: number;
  /** Slots taken; always below `slots` for a candidate. */
  readonly taken: number;
}

/** What one attempt asks of the choice. */
export interface Tried {
  /** Upstreams that this request was on already; they are never chosen again. */
  readonly upstreams: ReadonlySet<string>;
  /** Their nodes; another node is preferred. */
  readonly nodes: ReadonlySet<string>;
}

/** A request that was nowhere yet. */
export const NOWHERE: Tried = { upstreams: new Set(), nodes: new Set() };

/**
 * The upstream for an attempt, or undefined when there is no candidate. `random` gives numbers in [0, 1); it decides
 * ties, so that several balancers do not all run to the same worker.
 */
export function pick<C extends Candidate>(
  candidates: Iterable<C>,
  tried: Tried,
  random: () => number,
): C | undefined {
  let best: C | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  let ties = 0;
  for (const candidate of candidates) {
    if (tried.upstreams.has(candidate.id)) continue;
    const rank = rankOf(candidate, tried);
    if (rank < bestRank) {
      [best, bestRank, ties] = [candidate, rank, 1];
    } else if (rank === bestRank) {
      // A reservoir of one: the n-th equal candidate replaces the chosen one with probability 1/n.
      ties += 1;
      if (random() * ties < 1) best = candidate;
    }
  }
  return best;
}

/** Lower is better. A tried node ranks behind every other one, since a load is below 1. */
function rankOf(candidate: Candidate, tried: Tried): number {
  const load = candidate.taken / candidate.slots;
  return candidate.node !== undefined && tried.nodes.has(candidate.node) ? 1 + load : load;
}
