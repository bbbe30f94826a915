// `soak`: an ordinary load for a long time. What leaks, grows or tires shows here and in no short run.

import type { Second } from '../result.ts';
import { ordinaryRate } from './ceiling.ts';
import { answer, hold, type Plan, rate, stopAfter } from './plan.ts';

const DEFAULT_SECONDS = 600;
/** The share of the ceiling that a fleet with headroom carries. */
const SHARE = 0.7;
/** Memory that grows by more than this share is not flat. */
const FLAT = 0.1;

export const soakPlan: Plan = async (bench, settings) => {
  const ordinary = await ordinaryRate(bench, settings, SHARE);
  if (ordinary.kind === 'stop') return ordinary.answer;
  const { qps } = ordinary;
  const seconds = settings.duration ?? DEFAULT_SECONDS;
  const step = await bench.run({
    label: rate(qps),
    purpose: 'hold',
    load: hold(qps, seconds),
    grade: 'slo',
    early: { fail: true, pass: null },
  });
  const stop = stopAfter(step);
  if (stop) return stop;
  const growth = memoryGrowth(step.over_time);
  const memory =
    growth === null
      ? 'memory was not measured'
      : `worker memory ${growth >= 0 ? 'grew' : 'fell'} by ${Math.abs(growth * 100).toFixed(1)} %`;
  if (step.verdict !== 'met')
    return answer('not met', `${rate(qps)} does not meet the service level over ${seconds} s (${memory}).`);
  if (growth !== null && growth > FLAT)
    return answer('not met', `${rate(qps)} was held for ${seconds} s, but ${memory}.`);
  return answer('met', `${rate(qps)} was held for ${seconds} s; ${memory}.`);
};

/** The last quarter's memory over the second quarter's, as a share; the first is warm-up. Null when not measured. Pure. */
export function memoryGrowth(seconds: readonly Pick<Second, 'worker_memory_mb'>[]): number | null {
  const known = seconds.map(({ worker_memory_mb }) => worker_memory_mb).filter((mb) => mb !== null);
  const quarter = Math.floor(known.length / 4);
  if (quarter < 3) return null;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const before = mean(known.slice(quarter, 2 * quarter));
  return before === 0 ? null : mean(known.slice(-quarter)) / before - 1;
}
