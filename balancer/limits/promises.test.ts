import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Allowance } from './allowance.ts';
import { Promises } from './promises.ts';

const told = (rate: { burst: number; everyMs: number }, count: number): number[] => {
  const promises = new Promises();
  return Array.from({ length: count }, () => promises.next(0, rate.burst * rate.everyMs, rate) / 1000);
};
const cases: { name: string; burst: number; everyMs: number; told: number[] }[] = [
  { name: 'one token a second', burst: 10, everyMs: 1000, told: [1, 3, 5, 7] },
  { name: 'four tokens a second', burst: 10, everyMs: 250, told: [1, 1, 2, 2, 3, 3] },
  { name: 'many tokens, of which the bucket holds one', burst: 1, everyMs: 20, told: [1, 2, 3] },
  { name: 'a token every second and a half, and none may be kept', burst: 1, everyMs: 1500, told: [2, 5, 8] },
];
for (const { name, burst, everyMs, told: expected } of cases)
  test(`each refused request is told its own token: ${name}`, () =>
    assert.deepEqual(told({ burst, everyMs }, expected.length), expected));

test('who is alone and comes back as told is told the next token, not the one behind it', () => {
  const promises = new Promises();
  const rate = { burst: 1, everyMs: 1000 };
  assert.equal(promises.next(0, 1000, rate), 1000);
  assert.equal(promises.next(1010, 2005, rate), 1000);
});

test('promises that are past are no burden, and nobody is sent away for hours', () => {
  const promises = new Promises();
  const rate = { burst: 5, everyMs: 1000 };
  for (let i = 0; i < 10_000; i++) assert.ok(promises.next(0, 5000, rate) <= 600_000);
  assert.equal(promises.next(700_000, 704_100, rate), 1000);
});

test('of 200 that are refused at once, at least 180 of those who come back when they were told are let in', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 20, max: 1400 }),
      fc.nat(),
      (burst, everyMs, seed) => {
        const allowance = new Allowance({ rate: { burst, everyMs }, concurrent: undefined });
        for (let i = 0; i < burst; i++) allowance.take(0)();
        const returns = Array.from({ length: 200 }, (_, index) => {
          const told = Math.ceil(allowance.refuse('rate', 0, 0).retryAfterMs / 1000) * 1000;
          // A network makes each of them late by another time, up to 100 ms.
          return told + ((seed + index * 7919) % 101);
        });
        let admitted = 0;
        for (const at of returns.sort((a, b) => a - b)) {
          if (allowance.exceeded(at)) continue;
          allowance.take(at);
          admitted += 1;
        }
        assert.ok(admitted >= 0.9 * 200, `${admitted} of 200`);
      },
    ),
    { numRuns: 500 },
  );
});
