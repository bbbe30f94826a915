// An ordinary load for a long time. QPS, DURATION (seconds)

import { picture, setting, thresholds, users, validity } from './toonfleet.js';

const qps = setting('QPS', 5);

export const options = {
  scenarios: {
    soak: {
      executor: 'constant-arrival-rate',
      timeUnit: '1m',
      rate: Math.max(1, Math.round(qps * 60)),
      duration: `${setting('DURATION', 600)}s`,
      ...users(qps),
    },
  },
  thresholds: { ...thresholds('', { abortOnFail: true, delayAbortEval: '30s' }), ...validity },
};

export default () => picture();
