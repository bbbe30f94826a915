// The highest rate that keeps the service level: rates held one after the other, each FACTOR times the last, until one
// fails. Thresholds of k6 are cumulative, so each rate has a tag and thresholds of its own; the first that fails
// ends the run. The answer is the last rate that was held to its end.
//
// START, FACTOR, STEPS, HOLD (seconds)

import exec from 'k6/execution';
import { picture, setting, summed, thresholds, users, validity } from './toonfleet.js';

const [start, factor, steps, hold] = [
  setting('START', 5),
  setting('FACTOR', 1.1),
  setting('STEPS', 20),
  setting('HOLD', 30),
];
const rates = Array.from({ length: steps }, (_, step) =>
  Math.max(1, Math.round(start * factor ** step * 60)),
);
const perStep = rates.map((_, step) => ({
  // Always true: a summary holds only what has a threshold.
  [`answered{step:${step}}`]: ['count>=0'],
  ...thresholds(`{step:${step}}`, { abortOnFail: true, delayAbortEval: `${Math.ceil(hold / 3)}s` }),
}));

export const options = {
  scenarios: {
    ceiling: {
      executor: 'ramping-arrival-rate',
      // A minute as unit: rates of k6 are whole numbers, and five a second is too coarse a grid.
      timeUnit: '1m',
      startRate: rates[0],
      stages: rates.flatMap((target) => [
        { target, duration: '0s' },
        { target, duration: `${hold}s` },
      ]),
      ...users(rates[rates.length - 1] / 60),
      gracefulStop: '60s',
    },
  },
  thresholds: Object.assign({ cache_hits: validity.cache_hits }, ...perStep),
};

const stepNow = () =>
  String(Math.min(steps - 1, Math.floor((Date.now() - exec.scenario.startTime) / (hold * 1000))));

export default () => picture({ step: stepNow() }, () => ({ step: stepNow() }));

/** How far answers may lag behind arrivals before a step's queue counts as growing; as in loadtest/slo.ts. */
const allowedGrowth = (due) => Math.max(0.02 * due, 0.5 * Math.sqrt(due));

export function handleSummary(data) {
  let ceiling = null;
  let beyond = false;
  const lines = rates.map((rate, step) => {
    const { p95, mean, count, good } = summed(data, `step:${step}`);
    if (count === 0) return '';
    const due = (rate / 60) * hold;
    const back = data.metrics[`answered{step:${step}}`]?.values.count || 0;
    const crossed = [`picture_time{step:${step}}`, `pictures{step:${step}}`].some((name) =>
      Object.values(data.metrics[name]?.thresholds || {}).some(({ ok }) => !ok),
    );
    const verdict = crossed
      ? 'fails'
      : count < 0.95 * due
        ? 'cut short'
        : back < due - allowedGrowth(due)
          ? 'does not keep up'
          : 'holds';
    if (verdict === 'holds' && !beyond) ceiling = rate / 60;
    beyond = beyond || verdict !== 'holds';
    return `${(rate / 60).toFixed(2)}/s  ${back} of ${Math.round(due)} back  mean ${Math.round(mean)} ms  P95 ${Math.round(p95)} ms  pictures ${(good * 100).toFixed(2)} %  ${verdict}`;
  });
  const dropped = data.metrics.dropped_iterations ? data.metrics.dropped_iterations.values.count : 0;
  const note =
    dropped > 0
      ? `${dropped} pictures were never sent for want of a free VU; their step was cut short\n`
      : '';
  const text = `\n${lines.filter(Boolean).join('\n')}\n${note}ceiling (k6): ${ceiling === null ? 'none' : `${ceiling.toFixed(2)}/s`}\n`;
  const out = { stdout: text };
  if (__ENV.JSON) out[__ENV.JSON] = JSON.stringify({ ceiling_qps: ceiling, dropped });
  return out;
}
