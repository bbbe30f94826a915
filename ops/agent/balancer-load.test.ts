import assert from 'node:assert/strict';
import test from 'node:test';
import { formatLoad, parseLoad } from '../../config/contract.ts';
import { BalancerLoads } from './balancer-load.ts';

const load = { queue: 12, mean: 340, p95: 900, wait: 20 };

test('two balancers: queues add up, the slower one counts, and a silent one is forgotten', () => {
  const loads = new BalancerLoads(3_000);
  assert.equal(loads.sum(0), undefined);
  loads.hear('a', load, 0);
  loads.hear('b', { queue: 5, mean: 100, p95: 2_000, wait: 700 }, 2_000);
  assert.deepEqual(loads.sum(3_000), { queue: 17, mean: 340, p95: 2_000, wait: 700 });
  assert.deepEqual(loads.sum(3_001), { queue: 5, mean: 100, p95: 2_000, wait: 700 });
  assert.equal(loads.sum(5_001), undefined);
});

test('a load comes over the wire as it was, and rubbish is none', () => {
  assert.deepEqual(parseLoad(formatLoad(load)), load);
  assert.equal(
    formatLoad({ queue: 1e12, mean: 0.4, p95: 1.6, wait: 0 }),
    'queue=999999999; mean=0; p95=2; wait=0',
  );
  for (const rubbish of [
    undefined,
    '',
    'queue=-1; mean=0; p95=0; wait=0',
    'queue=1e3; mean=0; p95=0; wait=0',
    ['a'],
  ])
    assert.equal(parseLoad(rubbish), undefined);
});
