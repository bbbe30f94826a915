import assert from 'node:assert/strict';
import test from 'node:test';
import { Stats } from './stats.ts';

test('the last whole seconds are counted, the running one is not', () => {
  const stats = new Stats(10);
  for (let second = 0; second < 12; second++)
    for (let i = 0; i < 5; i++) stats.note(second * 1000 + i, 100, i === 0);
  stats.note(12_000, 9999, true);
  assert.deepEqual(stats.read(12_500), { qps: 5, meanMs: 100, errorsPerSecond: 1 });
});

test('what is older than the window is forgotten', () => {
  const stats = new Stats(10);
  stats.note(0, 100, false);
  assert.deepEqual(stats.read(30_000), { qps: 0, meanMs: 0, errorsPerSecond: 0 });
});
