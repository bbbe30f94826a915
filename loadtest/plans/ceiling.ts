// `ceiling`: the highest rate that meets the service level. The search itself is decided by ../ceiling.ts.

import { CEILING_DEFAULTS, nextMove, type Trial } from '../ceiling.ts';
import type { PlanAnswer, Step } from '../result.ts';
import { answer, type Bench, hold, type Plan, type PlanSettings, rate, stopAfter } from './plan.ts';

/** A ramp step that is far from the limit may pass after this long, ms. */
const EARLY_PASS_MS = 4000;

/** How often a step that was invalid is tried again. */
const MAX_REPEATS = 2;

export const ceilingPlan: Plan = (bench, settings) => findCeiling(bench, settings, true);

/** Finds the ceiling; without `confirm` it is taken as the bisection leaves it. */
export async function findCeiling(
  bench: Bench,
  settings: PlanSettings,
  confirm: boolean,
): Promise<PlanAnswer> {
  const search = {
    ...CEILING_DEFAULTS,
    precision: settings.precision,
    maxQps: settings.maxQps,
    // One picture at a time kept one slot busy at most; a little below that is held by any
    // server that is well.
    startQps: settings.startQps ?? Math.max(CEILING_DEFAULTS.minQps, 750 / bench.pictureMs),
  };
  const trials: Trial[] = [];
  let memoryMb = 0;
  const memoryLimit = bench.slo.max_worker_memory_mb;
  for (;;) {
    const move = nextMove(search, trials);
    if (move.kind === 'done') {
      const found = summed(move.ceilingQps, move.aboveQps, move.confirmedQps, true, settings);
      if (memoryLimit === null || memoryMb <= memoryLimit) return found;
      const but = `But a worker grew to ${memoryMb.toFixed(0)} MB (allowed: ${memoryLimit.toFixed(0)} MB).`;
      return { ...found, verdict: 'not met', sentence: `${found.sentence} ${but}` };
    }
    if (move.purpose === 'confirm' && !confirm) {
      const passed = trials.filter((trial) => trial.passed).map(({ qps }) => qps);
      const failed = trials.filter((trial) => !trial.passed).map(({ qps }) => qps);
      return summed(Math.max(...passed), Math.min(...failed), null, false, settings);
    }
    const step = await tryRate(bench, settings, move.qps, move.purpose);
    const stop = stopAfter(step);
    if (stop) return { ...stop, ...foundSoFar(trials) };
    trials.push({ qps: move.qps, purpose: move.purpose, passed: carried(step) });
    if (step.worker_memory_mb !== null) memoryMb = Math.max(memoryMb, step.worker_memory_mb);
  }
}

/**
 * Whether a step carried its rate. Memory is left out: a worker that has grown does not shrink at a lower rate, and a
 * search that believed so would only go down. It is judged over the whole run instead.
 */
function carried(step: Step): boolean {
  if (step.verdict === 'met') return true;
  const failed = step.clauses.filter(({ met }) => met === false);
  return step.ended !== 'failed early' && failed.length > 0 && failed.every(({ name }) => name === 'memory');
}

async function tryRate(
  bench: Bench,
  settings: PlanSettings,
  qps: number,
  purpose: Trial['purpose'],
): Promise<Step> {
  const length = purpose === 'confirm' ? settings.confirm : settings.step;
  const seconds = Math.ceil(Math.max(length, settings.requests / qps));
  const attempt = () =>
    bench.run({
      label: rate(qps),
      purpose,
      load: hold(qps, seconds),
      grade: 'slo',
      early: {
        fail: true,
        pass:
          purpose === 'ramp'
            ? { minRequests: settings.requests / 2, minMs: Math.min(EARLY_PASS_MS, seconds * 500) }
            : null,
      },
    });
  let step = await attempt();
  for (let again = 0; again < MAX_REPEATS && worthAgain(step); again++) {
    // A neighbour on the machine may have held the generator up for a moment; three times is no chance.
    bench.say(`${rate(qps)} says nothing about the server; once more`);
    step = await attempt();
  }
  return step;
}

/** Invalid, and not because the run is over anyway. */
const worthAgain = (step: Step) =>
  step.verdict === 'invalid' &&
  step.cache_hits === 0 &&
  step.ended !== 'interrupted' &&
  step.ended !== 'aborted';

function foundSoFar(
  trials: readonly Trial[],
): Pick<PlanAnswer, 'ceiling_qps' | 'ceiling_above_qps' | 'confirmed_qps'> {
  const failed = trials.filter(({ passed }) => !passed).map(({ qps }) => qps);
  const above = failed.length === 0 ? null : Math.min(...failed);
  // What was only passed on the way up is no ceiling: the search did not end.
  return { ceiling_qps: null, ceiling_above_qps: above, confirmed_qps: null };
}

function summed(
  ceiling: number | null,
  above: number | null,
  confirmed: number | null,
  confirm: boolean,
  settings: PlanSettings,
): PlanAnswer {
  const numbers = {
    ceiling_qps: rounded(ceiling),
    ceiling_above_qps: rounded(above),
    confirmed_qps: rounded(confirmed),
  };
  if (ceiling === null) {
    return {
      ...numbers,
      verdict: 'not met',
      sentence: `No rate down to ${rate(above ?? 0)} meets the service level.`,
    };
  }
  if (above === null) {
    return {
      ...numbers,
      verdict: 'met',
      sentence: `${rate(ceiling)} still meets the service level; that is the most that --max-qps ${settings.maxQps} lets the search try.`,
    };
  }
  if (confirm && confirmed === null) {
    return {
      ...numbers,
      verdict: 'not met',
      sentence: `${rate(ceiling)} passed for a short while, but no confirmation below it did: the server does not hold its rate.`,
    };
  }
  const held = confirmed === null ? '' : `; ${rate(confirmed)} was held for ${settings.confirm} s`;
  return {
    ...numbers,
    verdict: 'met',
    sentence: `The ceiling is ${rate(ceiling)} (${rate(above)} is too much)${held}.`,
  };
}

const rounded = (qps: number | null) => (qps === null ? null : Math.round(qps * 1000) / 1000);

/** A rate that another plan starts from, or why there is none. */
export type RateFound =
  | { readonly kind: 'found'; readonly qps: number }
  | { readonly kind: 'stop'; readonly answer: PlanAnswer };

/** The ceiling: given, or found now. */
export async function ceilingFor(bench: Bench, settings: PlanSettings): Promise<RateFound> {
  if (settings.ceilingQps !== undefined) return { kind: 'found', qps: settings.ceilingQps };
  bench.say('no --ceiling and no --qps given: finding the ceiling first');
  const found = await findCeiling(bench, settings, false);
  if (found.verdict === 'met' && found.ceiling_qps !== null) {
    bench.say(found.sentence);
    return { kind: 'found', qps: found.ceiling_qps };
  }
  const stop = found.verdict === 'met' ? answer('not met', found.sentence) : found;
  return { kind: 'stop', answer: stop };
}

/** An ordinary load: the asked rate, or a share of the ceiling. */
export async function ordinaryRate(bench: Bench, settings: PlanSettings, share: number): Promise<RateFound> {
  if (settings.qps !== undefined) return { kind: 'found', qps: settings.qps };
  const ceiling = await ceilingFor(bench, settings);
  return ceiling.kind === 'stop' ? ceiling : { kind: 'found', qps: share * ceiling.qps };
}
