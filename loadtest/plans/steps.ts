// `steps`: so many users, each waiting for an answer before sending again (a closed model), as load tests by hand do.

import type { Step } from '../result.ts';
import { answer, type Plan, rate, stopAfter } from './plan.ts';

/** By Little's law a steady closed load has rate times latency users in flight; a short step may miss by this. */
const LITTLE_LIMIT = 0.1;

export const stepsPlan: Plan = async (bench, settings) => {
  const seconds = settings.duration ?? settings.step;
  let best: Step | undefined;
  let missed = 0;
  for (const users of settings.users) {
    const step = await bench.run({
      label: `${users} ${users === 1 ? 'user' : 'users'}`,
      purpose: 'step',
      load: { model: 'closed', users, seconds },
      grade: 'slo',
      early: null,
    });
    const stop = stopAfter(step);
    if (stop) return stop;
    const gap = littleGap(step);
    if (gap !== null && gap > LITTLE_LIMIT) {
      bench.say(
        `check: users in flight and rate times latency differ by ${Math.round(gap * 100)} %; hold the step longer`,
      );
    }
    if (step.verdict === 'met') best = step;
    else missed += 1;
    if (farBeyond(step, bench.slo.p95_ms) && users !== settings.users.at(-1)) {
      bench.say(`${step.label} are far beyond the service level; more users would only wait longer`);
      break;
    }
  }
  if (!best)
    return answer('not met', `Not even ${settings.users[0]} users are served within the service level.`);
  const sentence = `${best.users} users are served within the service level, at ${rate(best.achieved_qps)}.`;
  return answer(missed === 0 ? 'met' : 'not met', missed === 0 ? sentence : `${sentence} More are not.`);
};

/** A queue that serves nobody in time: the next, larger step can show nothing new. */
function farBeyond(step: Step, p95LimitMs: number | null): boolean {
  const p95 = step.latency_ms?.p95 ?? Number.POSITIVE_INFINITY;
  return step.error_rate > 0.5 || (p95LimitMs !== null && p95 > 5 * p95LimitMs);
}

/**
 * Little's law as a check of the measurement: users in flight are rate times mean latency. Returns the share by which
 * they differ; null when nothing came back. Pure.
 */
export function littleGap(step: Step): number | null {
  if (!step.latency_ms || step.in_flight_mean === 0) return null;
  const implied = (step.achieved_qps * step.latency_ms.mean) / 1000;
  return Math.abs(implied / step.in_flight_mean - 1);
}
