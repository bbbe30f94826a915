// `stress`: up to three times the ceiling and back. A fair server goes on serving at its rate, refuses the rest at
// once, answers nobody too late, and is well again soon after.

import type { Step } from '../result.ts';
import { ceilingFor } from './ceiling.ts';
import { answer, hold, type Plan, rate, stopAfter } from './plan.ts';
import { broken, recoveryS } from './spike.ts';

const MULTIPLES = [0.5, 1, 1.5, 2, 2.5, 3];
/** Goodput at the top, of the best of all steps. */
export const GOODPUT_LIMIT = 0.9;
export const REFUSAL_LIMIT_MS = 50;
export const CALM_AGAIN_LIMIT_S = 10;

export const stressPlan: Plan = async (bench, settings) => {
  const ceiling = await ceilingFor(bench, settings);
  if (ceiling.kind === 'stop') return ceiling.answer;
  const seconds = settings.duration ?? settings.step;
  const steps: Step[] = [];
  for (const multiple of MULTIPLES) {
    const qps = ceiling.qps * multiple;
    const step = await bench.run({
      label: `${multiple}× = ${rate(qps)}`,
      purpose: 'stress',
      load: hold(qps, seconds),
      grade: 'none',
      early: null,
    });
    const stop = stopAfter(step);
    if (stop) return stop;
    steps.push(step);
  }
  const after = await bench.run({
    label: `back to ${MULTIPLES[0]}×`,
    purpose: 'recover',
    load: hold(ceiling.qps * (MULTIPLES[0] ?? 0.5), Math.max(seconds, CALM_AGAIN_LIMIT_S + 5)),
    grade: 'none',
    early: null,
  });
  const stop = stopAfter(after);
  if (stop) return stop;
  const faults = stressFaults(
    steps,
    recoveryS(after.over_time, after.started_s, bench.slo),
    settings.deadlineMs,
  );
  const top = steps.at(-1);
  const summary = `At ${MULTIPLES.at(-1)}× the ceiling ${rate(top?.achieved_qps ?? 0)} came back of ${rate(top?.offered_qps ?? 0)}`;
  return faults.length === 0
    ? answer('met', `${summary}; the rest was refused in time, and all was well again soon.`)
    : answer('not met', `${summary}, but ${faults.join('; ')}.`);
};

/** What a fair server would not have done. Pure. */
export function stressFaults(
  steps: readonly Step[],
  calmAgainS: number | null,
  deadlineMs: number | undefined,
): string[] {
  const best = Math.max(0, ...steps.map(({ achieved_qps }) => achieved_qps));
  const top = steps.at(-1);
  const faults: string[] = [];
  if (top && best > 0 && top.achieved_qps < GOODPUT_LIMIT * best) {
    faults.push(`goodput fell to ${Math.round((top.achieved_qps / best) * 100)} % of its best`);
  }
  const slowRefusal = Math.max(0, ...steps.map(({ refusal_ms }) => refusal_ms?.p50 ?? 0));
  if (slowRefusal > REFUSAL_LIMIT_MS)
    faults.push(`half of the refusals took ${slowRefusal.toFixed(0)} ms or more`);
  const late = steps.find(
    ({ latency_ms }) => deadlineMs !== undefined && (latency_ms?.p99 ?? 0) > deadlineMs,
  );
  if (late)
    faults.push(
      `pictures came back after their deadline (p99 ${late.latency_ms?.p99.toFixed(0)} ms at ${late.label})`,
    );
  const failed = steps.reduce((sum, step) => sum + broken(step), 0);
  if (failed > 0) faults.push(`${failed} requests failed otherwise than by a refusal`);
  if (calmAgainS === null || calmAgainS > CALM_AGAIN_LIMIT_S) {
    faults.push(`it was not well again within ${CALM_AGAIN_LIMIT_S} s`);
  }
  return faults;
}
