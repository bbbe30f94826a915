// An ordinary load while every worker is replaced; not one picture may be lost. run.sh starts the reload at a third of
// the time. QPS, DURATION (seconds)

import { picture, setting, thresholds, users, validity } from './toonfleet.js';

const qps = setting('QPS', 5);

export const options = {
  scenarios: {
    reload: {
      executor: 'constant-arrival-rate',
      timeUnit: '1m',
      rate: Math.max(1, Math.round(qps * 60)),
      duration: `${setting('DURATION', 60)}s`,
      ...users(2 * qps),
    },
  },
  thresholds: { ...thresholds(), ...validity, pictures: ['rate==1'] },
};

export default () => picture();
