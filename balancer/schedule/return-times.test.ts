import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ReturnTimes } from './return-times.ts';

test('a refused client is told a time behind the backlog', () => {
  assert.ok(new ReturnTimes().next(0, { waitMs: 3000, slots: 4 }, 100) > 3000);
});

test('of many refused clients each has its own stretch of half the fleet', () => {
  const returns = new ReturnTimes();
  const times = Array.from({ length: 10 }, () => returns.next(0, { waitMs: 1000, slots: 4 }, 100));
  assert.deepEqual(
    times,
    times.map((_, index) => 1000 + 50 * (index + 1)),
  );
});

test('promises that are past are no burden', () => {
  const returns = new ReturnTimes();
  for (let i = 0; i < 100; i++) returns.next(0, { waitMs: 0, slots: 1 }, 100);
  assert.equal(returns.next(100_000, { waitMs: 0, slots: 1 }, 100), 200);
});

test('nobody is sent away for hours, whatever happened', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(1000), fc.nat(1e7), fc.nat(8), fc.nat(1e6)), { minLength: 1 }),
      (refusals) => {
        const returns = new ReturnTimes();
        let now = 0;
        for (const [gap, waitMs, slots, expectedMs] of refusals) {
          now += gap;
          const ms = returns.next(now, { waitMs, slots }, expectedMs);
          assert.ok(ms >= 0 && ms <= 600_000);
        }
      },
    ),
  );
});
