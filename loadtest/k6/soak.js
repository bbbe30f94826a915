// An ordinary load for a long time. QPS, DURATION (seconds)

import { picture, setting, steady, thresholds, validity } from './toonfleet.js';

export const options = {
  scenarios: { soak: steady(setting('QPS', 5), setting('DURATION', 600)) },
  thresholds: { ...thresholds('', { abortOnFail: true, delayAbortEval: '30s' }), ...validity },
};

export default () => picture();
