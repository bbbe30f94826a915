import assert from 'node:assert/strict';
import test from 'node:test';
import { mean, percentile, plusMinus, spread } from './figures.ts';

test('a percentile is one of the values, whatever their order', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(
    [0, 50, 95, 99, 100].map((percent) => percentile(values, percent)),
    [1, 51, 96, 100, 100],
  );
  assert.ok(Number.isNaN(percentile([], 50)));
});

test('the spread of runs is half of their range over their mean', () => {
  assert.equal(mean([37, 39, 41]), 39);
  assert.equal(spread([36, 40, 44]), 0.1);
  assert.equal(spread([7]), 0);
  assert.equal(plusMinus(spread([36, 40, 44])), '± 10.0 %');
});
