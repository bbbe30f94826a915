import assert from 'node:assert/strict';
import test from 'node:test';
import { RecentLoad } from './recent-load.ts';

test('the last fifteen seconds count, and what is older does not', () => {
  const recent = new RecentLoad();
  assert.deepEqual(recent.read(5_000), { mean: 0, p95: 0, wait: 0, busy: 0 });
  recent.note(0, 9_000, 8_000);
  recent.note(14_000, 100, 20);
  recent.look(14_000, 3);
  recent.look(14_500, 4);
  assert.deepEqual(
    { ...recent.read(14_999), p95: undefined },
    { mean: 4_550, p95: undefined, wait: 4_010, busy: 3.5 },
  );
  assert.equal(recent.read(15_000).mean, 100);
  assert.equal(recent.read(29_000).mean, 0);
  recent.note(30_000, 50, 0);
  assert.equal(recent.read(30_000).mean, 50, 'the place of the first second is used again, empty');
});

test('the 95th percentile is at most a tenth too much', () => {
  const recent = new RecentLoad();
  for (let ms = 1; ms <= 1_000; ms++) recent.note(1_000, ms, 0);
  const { p95 } = recent.read(1_000);
  assert.ok(p95 >= 950 && p95 <= 1_045, String(p95));
});
