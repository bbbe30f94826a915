// Figures as people read them. Pure.

import type { Run, Step } from '../result.ts';

/** Ms as `850 ms` or `2.31 s`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  return ms >= 1000
    ? `${(ms / 1000).toFixed(2)} s`
    : ms >= 10
      ? `${ms.toFixed(0)} ms`
      : `${ms.toFixed(1)} ms`;
}

/** A share as `12.3 %`. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return '–';
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 2 : 1)} %`;
}

/** A rate, without its unit. */
export function qps(rate: number | null | undefined): string {
  if (rate === null || rate === undefined) return '–';
  return rate >= 100 ? rate.toFixed(0) : rate >= 10 ? rate.toFixed(1) : rate.toFixed(2);
}

/** What was loaded, in a phrase; virtual workers are called so first. */
export function fleetWords({ fleet }: Pick<Run, 'fleet'>): string {
  const size = [
    fleet.node_count === null ? '' : `${fleet.node_count} ${fleet.node_count === 1 ? 'node' : 'nodes'}`,
    fleet.slots === null ? '' : `${fleet.slots} ${fleet.slots === 1 ? 'slot' : 'slots'}`,
  ].filter((part) => part !== '');
  const kind = fleet.virtual ? 'virtual workers (they sleep instead of drawing)' : '';
  return [kind, ...size].filter((part) => part !== '').join(', ') || 'size unknown';
}

/** Why a step ended as it did, in a phrase. */
export function verdictWords(step: Step): string {
  switch (step.verdict) {
    case 'met':
      return step.ended === 'passed early' ? 'met (early)' : 'met';
    case 'not met':
      return `not met: ${failedClauses(step) || step.why || 'stopped'}`;
    case 'invalid':
      return 'invalid';
    case 'not graded':
      return '';
  }
}

const failedClauses = (step: Step) =>
  step.clauses
    .filter(({ met }) => met === false)
    .map(({ name }) => name)
    .join(', ');

/** Arguments as they would be typed into a shell. */
export function shellWords(args: readonly string[]): string {
  return args
    .map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}
