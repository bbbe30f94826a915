// Ten pictures, one after the other: does it work at all?

import { picture, thresholds, validity } from './toonfleet.js';

export const options = {
  scenarios: { smoke: { executor: 'shared-iterations', vus: 1, iterations: 10, maxDuration: '2m' } },
  thresholds: { ...thresholds(), ...validity },
};

export default () => picture();
