// Is this run better or worse than a kept one, beyond noise? Pure.
// Noise is what a run says of itself: the spread of its seconds, and the precision of its search.

import type { Run, Second, Step } from '../result.ts';
import { duration, qps } from './words.ts';

/** One figure that both runs have. */
export interface Difference {
  readonly what: string;
  readonly before: string;
  readonly now: string;
  /** (now - before) / before. */
  readonly change: number;
  /** Changes up to this share say nothing. */
  readonly noise: number;
  readonly verdict: 'better' | 'worse' | 'the same within noise';
}

/** Two runs of the same thing on one machine differ by this much without a reason; measured by repeating. */
const FLOOR = 0.05;

/** All that can be compared: the ceiling, and mean latency and QPS of steps that held the same load. */
export function compare(baseline: Run, run: Run): Difference[] {
  const differences: Difference[] = [];
  if (baseline.ceiling_qps !== null && run.ceiling_qps !== null) {
    const noise = Math.max(FLOOR, gap(baseline) + gap(run));
    differences.push(
      difference(
        'ceiling',
        baseline.ceiling_qps,
        run.ceiling_qps,
        noise,
        'higher',
        (value) => `${qps(value)}/s`,
      ),
    );
  }
  for (const step of run.steps) {
    const twin = baseline.steps.find((other) => sameLoad(other, step));
    if (!twin?.latency_ms || !step.latency_ms) continue;
    const noise = Math.max(
      2 * FLOOR,
      spread(twin.over_time, ({ p50 }) => p50) + spread(step.over_time, ({ p50 }) => p50),
    );
    differences.push(
      difference(
        `mean at ${step.label}`,
        twin.latency_ms.mean,
        step.latency_ms.mean,
        noise,
        'lower',
        duration,
      ),
    );
    if (step.model === 'closed') {
      const pace = Math.max(
        FLOOR,
        spread(twin.over_time, ({ ok }) => ok) + spread(step.over_time, ({ ok }) => ok),
      );
      differences.push(
        difference(
          `QPS at ${step.label}`,
          twin.achieved_qps,
          step.achieved_qps,
          pace,
          'higher',
          (value) => `${qps(value)}/s`,
        ),
      );
    }
  }
  return differences;
}

/** What makes two runs hard to compare; a sentence each. */
export function differencesOfKind(baseline: Run, run: Run): string[] {
  const pairs: readonly (readonly [string, string, string])[] = [
    ['CPU', baseline.machine.cpu, run.machine.cpu],
    ['cores', String(baseline.machine.cores), String(run.machine.cores)],
    [
      'fleet',
      JSON.stringify([baseline.fleet.node_count, baseline.fleet.slots, baseline.fleet.virtual]),
      JSON.stringify([run.fleet.node_count, run.fleet.slots, run.fleet.virtual]),
    ],
    ['service level', JSON.stringify(baseline.slo), JSON.stringify(run.slo)],
    ['photos', baseline.photos.sizes.join(' '), run.photos.sizes.join(' ')],
    ['styles', baseline.styles.join(' '), run.styles.join(' ')],
  ];
  return pairs
    .filter(([, before, now]) => before !== now)
    .map(([what]) => `the baseline had another ${what}`);
}

function difference(
  what: string,
  before: number,
  now: number,
  noise: number,
  good: 'higher' | 'lower',
  words: (value: number) => string,
): Difference {
  const change = before === 0 ? 0 : now / before - 1;
  const verdict =
    Math.abs(change) <= noise
      ? 'the same within noise'
      : change > 0 === (good === 'higher')
        ? 'better'
        : 'worse';
  return { what, before: words(before), now: words(now), change, noise, verdict };
}

/** How far the search left its ceiling open, as a share. */
function gap(run: Run): number {
  const { ceiling_qps: low, ceiling_above_qps: high } = run;
  return low === null || high === null || low === 0 ? 0 : Math.max(0, high / low - 1);
}

/** Loads within two percent of each other are the same; steps that ended early are not compared. */
function sameLoad(a: Step, b: Step): boolean {
  if (a.ended !== 'complete' || b.ended !== 'complete' || a.model !== b.model) return false;
  if (a.model === 'closed') return a.users === b.users;
  return (
    a.offered_qps !== null && b.offered_qps !== null && Math.abs(a.offered_qps / b.offered_qps - 1) <= 0.02
  );
}

/**
 * Two standard errors of the mean over the seconds, as a share of it. Neighbouring seconds share a queue, so each is
 * counted as half a witness.
 */
function spread(seconds: readonly Second[], value: (second: Second) => number | null): number {
  const values = seconds.map(value).filter((each) => each !== null);
  if (values.length < 4) return 0.1;
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const variance = values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (values.length - 1);
  return mean === 0 ? 0 : (2 * Math.sqrt(variance / (values.length / 2))) / mean;
}
