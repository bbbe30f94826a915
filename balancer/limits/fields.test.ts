import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Allowance, limitsOf } from './allowance.ts';
import { rateLimitFields } from './fields.ts';

const fieldsOf = (settings: Parameters<typeof limitsOf>[0], taken: number, now = 0) => {
  const limits = limitsOf(settings);
  assert.ok(limits);
  const allowance = new Allowance(limits);
  for (let i = 0; i < taken; i++) allowance.take(0);
  return rateLimitFields('client', allowance.remainder(now));
};
const cases: {
  name: string;
  settings: Parameters<typeof limitsOf>[0];
  taken: number;
  now?: number;
  policy: string;
  state: string;
}[] = [
  {
    name: 'sixty a minute',
    settings: { requests: 60, per: 60_000, burst: 0, concurrent: 0 },
    taken: 1,
    policy: '"client";q=60;w=60',
    state: '"client";r=59;t=1',
  },
  {
    name: 'a burst is told as the quota of its own window',
    settings: { requests: 60, per: 60_000, burst: 10, concurrent: 0 },
    taken: 3,
    policy: '"client";q=10;w=10',
    state: '"client";r=7;t=1',
  },
  {
    name: 'a full bucket has nothing to wait for',
    settings: { requests: 7, per: 60_000, burst: 0, concurrent: 0 },
    taken: 0,
    policy: '"client";q=7;w=60',
    state: '"client";r=7',
  },
  {
    name: 'a window is never shorter than a second',
    settings: { requests: 100, per: 1000, burst: 5, concurrent: 0 },
    taken: 5,
    policy: '"client";q=100;w=1',
    state: '"client";r=0;t=1',
  },
  {
    name: 'places have a unit of their own',
    settings: { requests: 0, per: 60_000, burst: 0, concurrent: 4 },
    taken: 1,
    policy: '"client-concurrent";q=4;qu="concurrent-requests"',
    state: '"client-concurrent";r=3',
  },
  {
    name: 'both stand in one list',
    settings: { requests: 60, per: 60_000, burst: 0, concurrent: 4 },
    taken: 2,
    now: 400,
    policy: '"client";q=60;w=60, "client-concurrent";q=4;qu="concurrent-requests"',
    state: '"client";r=58;t=1, "client-concurrent";r=2',
  },
];
for (const { name, settings, taken, now, policy, state } of cases)
  test(name, () =>
    assert.deepEqual(fieldsOf(settings, taken, now), { 'ratelimit-policy': policy, ratelimit: state }),
  );

test('the told quota is never below the burst and never above the rate', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.integer({ min: 1000, max: 3_600_000 }),
      fc.integer({ min: 0, max: 5000 }),
      (requests, per, burst) => {
        const fields = fieldsOf({ requests, per, burst, concurrent: 0 }, 0);
        const [, q, w] = /^"client";q=(\d+);w=(\d+)$/.exec(fields['ratelimit-policy'] ?? '') ?? [];
        assert.ok(Number(q) >= (burst || requests));
        // Within the rounding of a window to whole seconds.
        assert.ok(Number(q) / Number(w) <= (requests / per) * 1000 * 1.000001);
      },
    ),
  );
});
