// An ordinary load while every worker is replaced; not one picture may be lost. run.sh starts the reload at a third of
// the time. QPS, DURATION (seconds)

import { picture, setting, steady, thresholds, validity } from './toonfleet.js';

export const options = {
  scenarios: { reload: steady(setting('QPS', 5), setting('DURATION', 60)) },
  thresholds: { ...thresholds(), ...validity, pictures: ['rate==1'] },
};

export default () => picture();
