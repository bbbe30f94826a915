// Three times the ordinary load for a moment, and back. The service level must hold before, and again after a time to
// recover; during the spike a fair server sheds. QPS, DURATION (seconds of the spike)

import exec from 'k6/execution';
import { picture, setting, thresholds, users, validity } from './toonfleet.js';

const [qps, spike] = [setting('QPS', 5), setting('DURATION', 15)];
const calm = Math.max(10, spike);
const recovery = 30;
const rate = (times) => Math.max(1, Math.round(qps * times * 60));
const hold = (times, seconds) => [
  { target: rate(times), duration: '0s' },
  { target: rate(times), duration: `${seconds}s` },
];

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      timeUnit: '1m',
      startRate: rate(1),
      stages: [...hold(1, calm), ...hold(3, spike), ...hold(1, recovery + calm)],
      ...users(3 * qps * 3),
    },
  },
  thresholds: { ...thresholds('{phase:before}'), ...thresholds('{phase:after}'), ...validity },
};

export default () => {
  const at = (Date.now() - exec.scenario.startTime) / 1000;
  const phase =
    at < calm ? 'before' : at < calm + spike ? 'spike' : at < calm + spike + recovery ? 'recovery' : 'after';
  picture({ phase });
};
