// Chooses the upstream for one attempt among those with a free slot: away from nodes that were tried, in our own zone,
// warmed up, and the fastest; ties by lot. Pure. Sees load and availability only; never addresses, sockets or clocks.
// Availability is the pool's to judge. Only an order among free slots is made here: no slot stays empty while somebody
// waits, so a far zone or a slow worker is used as soon as the better ones are busy.

/** What the choice needs to know of an upstream that could take the attempt now. */
export interface Candidate {
  readonly id: string;
  readonly node: string | undefined;
  readonly slots: number;
  /** Slots taken; always below `slots` for a candidate. */
  readonly taken: number;
  /** Its time for a picture over the fleet's usual time for the same one: 2 is half as fast; undefined until known. */
  readonly pace: number | undefined;
  /** In the balancer's own zone, or of no known zone. */
  readonly nearby: boolean;
  /** From 0 when it was just (re)admitted to 1 when it counts fully. */
  readonly warmth: number;
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

/** One choice in so many is made without regard to pace, so that a worker that was slow once is measured again. */
const EXPLORED = 0.05;
/** Paces within such a step count as equal: measured paces always differ a little, and one worker would get it all. */
const PACE_STEP = Math.log(1.25);

/**
 * The upstream for an attempt, or undefined when there is no candidate. `random` gives numbers in [0, 1); it decides
 * ties, so that several balancers do not all run to the same worker.
 */
export function pick<C extends Candidate>(
  candidates: Iterable<C>,
  tried: Tried,
  random: () => number,
): C | undefined {
  const byPace = random() < 1 - EXPLORED;
  let best: C | undefined;
  let bestClass = Number.POSITIVE_INFINITY;
  let bestScore = Number.POSITIVE_INFINITY;
  let ties = 0;
  for (const candidate of candidates) {
    if (tried.upstreams.has(candidate.id)) continue;
    const rank = classOf(candidate, tried, random);
    const score = scoreOf(candidate, byPace);
    if (rank < bestClass || (rank === bestClass && score < bestScore)) {
      [best, bestClass, bestScore, ties] = [candidate, rank, score, 1];
    } else if (rank === bestClass && score === bestScore) {
      // A reservoir of one: the n-th equal candidate replaces the chosen one with probability 1/n.
      ties += 1;
      if (random() * ties < 1) best = candidate;
    }
  }
  return best;
}

/** Lower is better: a tried node weighs more than a far zone, and that more than a cold start. */
function classOf({ node, nearby, warmth }: Candidate, tried: Tried, random: () => number): number {
  const again = node !== undefined && tried.nodes.has(node);
  const cold = warmth < 1 && random() >= warmth;
  return (again ? 4 : 0) + (nearby ? 0 : 2) + (cold ? 1 : 0);
}

/** Lower is better: the time a picture may take there, given what runs beside it. A cold upstream's slots count less. */
function scoreOf({ taken, slots, pace, warmth }: Candidate, byPace: boolean): number {
  const load = taken / Math.max(1, slots * warmth);
  const steps = byPace && pace !== undefined ? Math.round(Math.log(pace) / PACE_STEP) : 0;
  return (1 + load) * Math.exp(steps * PACE_STEP);
}
