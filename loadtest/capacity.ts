// How many VMs a load needs, from measured ceilings. Pure arithmetic; says of every number what it rests on.

import type { Run, Step } from './result.ts';

/** One measured fleet. */
export interface Measured {
  /** What it was measured by, for people. */
  readonly source: string;
  readonly nodes: number;
  readonly slots: number | null;
  /** At the asked P95. */
  readonly ceilingQps: number;
}

/** What a fleet must carry. */
export interface Demand {
  readonly targetQps: number;
  /** The share of each ceiling that is kept free. */
  readonly headroom: number;
  /** Nodes beyond what the load needs. */
  readonly spare: number;
  /** Zones over which the nodes are spread; 1 is none. */
  readonly zones: number;
  /** How many times as many pictures a node draws than it was measured with; 1 unless asked "what if". */
  readonly speed: number;
}

/** How ceilings grow with nodes. */
export interface Fit {
  readonly kind: 'one measurement' | 'line through zero' | 'universal scalability law';
  readonly ceilingOf: (nodes: number) => number;
  /** How much of the spread the fit explains; null where it was not put to a test. */
  readonly r2: number | null;
  readonly formula: string;
}

/** A fleet that carries the demand. */
export interface Plan {
  readonly nodes: number;
  /** What the load needs with headroom, before spares and zones. */
  readonly needed: number;
  readonly perZone: number;
  /** The whole fleet's ceiling, and what is left of it when its largest zone is gone. */
  readonly ceilingQps: number;
  readonly ceilingWithoutZoneQps: number | null;
  /** The target's share of the fleet's ceiling, with all nodes and without one. */
  readonly load: number;
  readonly loadWithoutNode: number;
  /** How many times the largest measured fleet this is. */
  readonly extrapolation: number;
}

/** Beyond this many times the largest measured fleet, a plan is called extrapolated. */
export const EXTRAPOLATION_LIMIT = 2;
const MOST_NODES = 10_000;

/**
 * The highest rate of a run's steps that met a P95, or why there is none. A run that was judged by a larger P95 may
 * be asked for a smaller one, never the other way round: nobody knows what lies above its ceiling.
 */
export function ceilingAt(run: Run, p95Ms: number): { readonly qps: number } | { readonly fault: string } {
  if (run.ceiling_qps === null) return { fault: `it holds no ceiling (plan ${run.plan}, ${run.verdict})` };
  if (run.slo.p95_ms !== null && p95Ms >= run.slo.p95_ms) return { qps: run.ceiling_qps };
  const valid = run.steps.filter(
    (step): step is Step & { offered_qps: number } =>
      step.model === 'open' &&
      step.offered_qps !== null &&
      step.verdict !== 'invalid' &&
      step.verdict !== 'not graded',
  );
  const fits = (step: Step) =>
    step.verdict === 'met' && step.latency_ms !== null && step.latency_ms.p95 <= p95Ms;
  const tooMuch = Math.min(...valid.filter((step) => !fits(step)).map((step) => step.offered_qps));
  const fitting = valid
    .filter((step) => fits(step) && step.offered_qps < tooMuch)
    .map((step) => step.offered_qps);
  if (fitting.length > 0) return { qps: Math.max(...fitting) };
  return { fault: `none of its steps kept P95 within ${p95Ms} ms; measure again with --p95` };
}

/** The best description of how ceilings grow that the measurements allow. */
export function fitCeilings(points: readonly Measured[]): Fit {
  const sizes = new Set(points.map(({ nodes }) => nodes));
  if (sizes.size >= 4) {
    const usl = fitUsl(points);
    if (usl) return usl;
  }
  const squares = points.reduce((sum, { nodes }) => sum + nodes * nodes, 0);
  const slope = points.reduce((sum, { nodes, ceilingQps }) => sum + nodes * ceilingQps, 0) / squares;
  const ceilingOf = (nodes: number) => slope * nodes;
  const tested = points.length >= 2;
  return {
    kind: tested ? 'line through zero' : 'one measurement',
    ceilingOf,
    r2: tested ? explained(points, ceilingOf) : null,
    formula: `${slope.toFixed(2)}/s a node`,
  };
}

/**
 * X(N) = λN / (1 + σ(N−1) + κN(N−1)), fitted as N/X = a + b(N−1) + cN(N−1) by least squares: λ = 1/a, σ = b/a,
 * κ = c/a. Undefined when the measurements contradict its meaning (a faster fleet with every node added).
 */
function fitUsl(points: readonly Measured[]): Fit | undefined {
  const rows = points.map(({ nodes: n, ceilingQps }) => ({
    terms: [1, n - 1, n * (n - 1)],
    value: n / ceilingQps,
  }));
  const solved = leastSquares(rows);
  const [a, b, c] = solved ?? [];
  if (a === undefined || b === undefined || c === undefined || a <= 0 || b < 0 || c < 0) return undefined;
  const ceilingOf = (n: number) => n / (a + b * (n - 1) + c * n * (n - 1));
  return {
    kind: 'universal scalability law',
    ceilingOf,
    r2: explained(points, ceilingOf),
    formula: `λ ${(1 / a).toFixed(2)}/s, σ ${(b / a).toFixed(4)}, κ ${(c / a).toFixed(6)}`,
  };
}

/** Solves the normal equations by elimination; undefined when they have no one solution. */
function leastSquares(
  rows: readonly { readonly terms: readonly number[]; readonly value: number }[],
): number[] | undefined {
  const size = rows[0]?.terms.length ?? 0;
  const matrix = Array.from({ length: size }, (_, i) => [
    ...Array.from({ length: size }, (_, j) =>
      rows.reduce((sum, { terms }) => sum + (terms[i] ?? 0) * (terms[j] ?? 0), 0),
    ),
    rows.reduce((sum, { terms, value }) => sum + (terms[i] ?? 0) * value, 0),
  ]);
  const at = (row: number, column: number) => matrix[row]?.[column] ?? 0;
  for (let pivot = 0; pivot < size; pivot++) {
    const best = Array.from({ length: size - pivot }, (_, k) => pivot + k).reduce((a, b) =>
      Math.abs(at(b, pivot)) > Math.abs(at(a, pivot)) ? b : a,
    );
    const [top, other] = [matrix[pivot], matrix[best]];
    if (!top || !other || Math.abs(at(best, pivot)) < 1e-12) return undefined;
    [matrix[pivot], matrix[best]] = [other, top];
    for (let row = 0; row < size; row++) {
      if (row === pivot) continue;
      const factor = at(row, pivot) / at(pivot, pivot);
      matrix[row] = matrix[row]?.map((value, column) => value - factor * at(pivot, column)) ?? [];
    }
  }
  return Array.from({ length: size }, (_, i) => at(i, size) / at(i, i));
}

/** R²: 1 when every point lies on the curve. */
function explained(points: readonly Measured[], ceilingOf: (nodes: number) => number): number {
  const mean = points.reduce((sum, { ceilingQps }) => sum + ceilingQps, 0) / points.length;
  const total = points.reduce((sum, { ceilingQps }) => sum + (ceilingQps - mean) ** 2, 0);
  const rest = points.reduce((sum, { nodes, ceilingQps }) => sum + (ceilingQps - ceilingOf(nodes)) ** 2, 0);
  return total === 0 ? (rest === 0 ? 1 : 0) : 1 - rest / total;
}

/**
 * The smallest fleet that carries the demand: with headroom before its spares, with the spares, spread evenly over
 * the zones, and still the target itself when the largest zone is gone. Undefined when no fleet of any size does,
 * since a fleet that scales badly has a most.
 */
export function planFleet(demand: Demand, fit: Fit, largestMeasured: number): Plan | undefined {
  const { targetQps, headroom, spare, zones, speed } = demand;
  const carries = (nodes: number) => (nodes <= 0 ? 0 : fit.ceilingOf(nodes) * speed);
  const needed = smallest((nodes) => carries(nodes) * (1 - headroom) >= targetQps);
  if (needed === undefined) return undefined;
  const withoutZone = (nodes: number) => carries(nodes - Math.ceil(nodes / zones));
  const total = smallest(
    (nodes) =>
      nodes >= needed + spare && (zones === 1 || (nodes % zones === 0 && withoutZone(nodes) >= targetQps)),
  );
  if (total === undefined) return undefined;
  return {
    nodes: total,
    needed,
    perZone: Math.ceil(total / zones),
    ceilingQps: carries(total),
    ceilingWithoutZoneQps: zones === 1 ? null : withoutZone(total),
    load: targetQps / carries(total),
    loadWithoutNode: total === 1 ? Number.POSITIVE_INFINITY : targetQps / carries(total - 1),
    extrapolation: total / largestMeasured,
  };
}

function smallest(holds: (nodes: number) => boolean): number | undefined {
  for (let nodes = 1; nodes <= MOST_NODES; nodes++) if (holds(nodes)) return nodes;
  return undefined;
}
