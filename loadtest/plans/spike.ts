// `spike`: half of the ceiling, suddenly three times as much, and back. Judged by what failed and how soon the
// ordinary load is served within the service level again.

import type { Second, Slo, Step } from '../result.ts';
import { ordinaryRate } from './ceiling.ts';
import { answer, type Plan, rate, stopAfter } from './plan.ts';

const BASE_SHARE = 0.5;
const TIMES = 3;
/** How soon after the spike's end all must be well again, s. */
export const RECOVERY_LIMIT_S = 30;
/** So many seconds in a row make "well again". */
const CALM_S = 3;

export const spikePlan: Plan = async (bench, settings) => {
  const ordinary = await ordinaryRate(bench, settings, BASE_SHARE);
  if (ordinary.kind === 'stop') return ordinary.answer;
  const { qps: base } = ordinary;
  const spikeS = settings.duration ?? 15;
  const [beforeS, afterS] = [Math.max(5, spikeS), Math.max(RECOVERY_LIMIT_S + CALM_S, 2 * spikeS)];
  const step = await bench.run({
    label: `${rate(base)} → ${rate(base * TIMES)} → ${rate(base)}`,
    purpose: 'spike',
    load: {
      model: 'open',
      stretches: [
        { rate: base, seconds: beforeS },
        { rate: base * TIMES, seconds: spikeS },
        { rate: base, seconds: afterS },
      ],
    },
    grade: 'none',
    early: null,
  });
  const stop = stopAfter(step);
  if (stop) return stop;
  const recovered = recoveryS(step.over_time, step.started_s + beforeS + spikeS, bench.slo);
  const story = `${step.shed} of ${step.requests} shed, ${broken(step)} failed`;
  if (recovered === null) return answer('not met', `Not well again ${afterS} s after the spike (${story}).`);
  const said = `Well again ${recovered.toFixed(0)} s after the spike (${story}).`;
  return answer(recovered <= RECOVERY_LIMIT_S && broken(step) === 0 ? 'met' : 'not met', said);
};

/** Shedding is an answer; what is neither a picture nor a refusal is a fault. */
export const broken = (step: Step) => step.failed + step.wrong;

/**
 * Seconds from `fromS` (in the run's time) until several seconds in a row have their P95 within the limit, nothing
 * shed and nothing failed; null when that never comes. Pure.
 */
export function recoveryS(seconds: readonly Second[], fromS: number, slo: Slo): number | null {
  const after = seconds.filter(({ t }) => t > fromS);
  const calm = after.map(
    (second) =>
      second.shed === 0 &&
      second.failed === 0 &&
      (slo.p95_ms === null || second.p95 === null || second.p95 <= slo.p95_ms),
  );
  const index = calm.findIndex(
    (_, at) => at + CALM_S <= calm.length && calm.slice(at, at + CALM_S).every(Boolean),
  );
  const first = after[index];
  return first === undefined ? null : Math.max(0, first.t - 1 - fromS);
}
