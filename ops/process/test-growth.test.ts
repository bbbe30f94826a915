import assert from 'node:assert/strict';
import test from 'node:test';
import { excessiveGrowth, timesAsLong } from './test-growth.ts';

/** So many steps that no optimiser takes away. */
function walk(steps: number): number {
  let sum = 0;
  for (let step = 0; step < steps; step++) sum = (sum * 31 + step) % 1_000_003;
  return sum;
}

test('work in proportion to its input is fine, however long it takes', () => {
  assert.equal(
    excessiveGrowth((size) => () => walk(size * 200), 50_000),
    undefined,
  );
});

test('work that meets each byte with each is found', () => {
  assert.match(
    excessiveGrowth((size) => () => walk(size * size), 5000) ?? '',
    /^16 times the input takes \d{3,4} times/,
  );
});

test('a pattern that runs back and forth is found in what it refuses', () => {
  const pattern = /(?:\s*;)*$/;
  assert.ok(excessiveGrowth((size) => () => pattern.test(`${' '.repeat(size)}x`), 8000));
});

test('work is compared with other work of the same moment', () => {
  const ratio = timesAsLong(
    () => walk(1_000_000),
    () => walk(20_000),
  );
  assert.ok(ratio > 10, `${ratio}`);
});
