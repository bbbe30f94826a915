import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { judgeCanary, type Seen } from './rollback.ts';

const LIMITS = { maxErrorRatio: 0.05, maxLatencyRatio: 1.5, minRequests: 50 };
const seen = (attempts: number, faults: number, pace = 1): Seen => ({
  attempts,
  faults,
  paces: Array.from({ length: attempts - faults }, () => pace),
});

const CASES: { name: string; canary: Seen; base: Seen; verdict: string }[] = [
  { name: 'nothing seen yet', canary: seen(0, 0), base: seen(0, 0), verdict: 'too_early' },
  { name: 'one fault at the start', canary: seen(1, 1), base: seen(10, 0), verdict: 'too_early' },
  {
    name: 'three faults at the start: too many whatever follows',
    canary: seen(3, 3),
    base: seen(0, 0),
    verdict: 'errors',
  },
  { name: 'enough and all well', canary: seen(50, 0), base: seen(50, 0), verdict: 'good' },
  { name: 'a fault in twenty', canary: seen(100, 5), base: seen(100, 0), verdict: 'good' },
  { name: 'more than that', canary: seen(100, 6), base: seen(100, 0), verdict: 'errors' },
  { name: 'as bad as a base that is bad', canary: seen(100, 20), base: seen(100, 18), verdict: 'good' },
  { name: 'worse than a base that is bad', canary: seen(100, 30), base: seen(100, 18), verdict: 'errors' },
  { name: 'twice as slow', canary: seen(60, 0, 2), base: seen(60, 0, 1), verdict: 'latency' },
  { name: 'a little slower', canary: seen(60, 0, 1.4), base: seen(60, 0, 1), verdict: 'good' },
  {
    name: 'twice as slow beside a base of which little is known',
    canary: seen(60, 0, 2),
    base: seen(20, 0, 1),
    verdict: 'good',
  },
  {
    name: 'twice as slow as seen on few',
    canary: seen(20, 0, 2),
    base: seen(60, 0, 1),
    verdict: 'too_early',
  },
];
for (const { name, canary, base, verdict } of CASES)
  test(`a canary: ${name}`, () => {
    const judged = judgeCanary(canary, base, LIMITS);
    assert.equal(judged.kind === 'roll_back' ? judged.reason : judged.kind, verdict);
  });

test('a canary no worse than its base is never rolled back', () => {
  fc.assert(
    fc.property(
      fc.nat(300),
      fc.nat(300),
      fc.double({ min: 0.1, max: 10, noNaN: true }),
      (attempts, faults, pace) => {
        const same = seen(attempts, Math.min(attempts, faults), pace);
        assert.notEqual(judgeCanary(same, same, LIMITS).kind, 'roll_back');
      },
    ),
  );
});

test('one slow picture in two hundred does not condemn a canary', () => {
  const paces = Array.from({ length: 200 }, (_, index) => (index === 7 ? 40 : 1));
  assert.equal(judgeCanary({ attempts: 200, faults: 0, paces }, seen(200, 0), LIMITS).kind, 'good');
});
