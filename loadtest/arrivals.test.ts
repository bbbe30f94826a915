import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { MAX_ARRIVALS, schedule } from './arrivals.ts';
import { seeded, seededFor } from './random.ts';

const close = (a: number, b: number) => Math.abs(a - b) < 1e-6;

test('constant arrivals come one period apart, the first after one period', () => {
  assert.deepEqual([...schedule([{ rate: 4, seconds: 1 }], 'constant', seeded(1))], [250, 500, 750]);
});

test('a pause sends nothing, and the gap that it cut goes on behind it', () => {
  const due = schedule(
    [
      { rate: 2, seconds: 0.75 },
      { rate: 0, seconds: 1 },
      { rate: 2, seconds: 1 },
    ],
    'constant',
    seeded(1),
  );
  assert.deepEqual([...due], [500, 2000, 2500]);
});

test('the same seed gives the same arrivals, another seed others', () => {
  const stretch = [{ rate: 50, seconds: 2 }];
  assert.deepEqual(schedule(stretch, 'poisson', seeded(7)), schedule(stretch, 'poisson', seeded(7)));
  assert.notDeepEqual(schedule(stretch, 'poisson', seeded(7)), schedule(stretch, 'poisson', seeded(8)));
});

test('twice the rate meets the same bursts at half the distance', () => {
  const slow = schedule([{ rate: 10, seconds: 20 }], 'poisson', seeded(3));
  const fast = schedule([{ rate: 20, seconds: 10 }], 'poisson', seeded(3));
  assert.equal(slow.length, fast.length);
  for (const [index, at] of slow.entries()) assert.ok(close(at, (fast[index] ?? 0) * 2));
});

test('Poisson arrivals have the mean rate and the spread of an exponential gap', () => {
  const due = schedule([{ rate: 100, seconds: 200 }], 'poisson', seeded(11));
  const gaps = [...due].map((at, index) => at - (due[index - 1] ?? 0));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  assert.ok(Math.abs(due.length / 20_000 - 1) < 0.03, `${due.length} arrivals`);
  assert.ok(
    Math.abs(Math.sqrt(variance) / mean - 1) < 0.05,
    `coefficient of variation ${Math.sqrt(variance) / mean}`,
  );
});

test('arrivals rise and lie inside their stretches', () => {
  const stretches = fc.array(
    fc.record({
      rate: fc.double({ min: 0, max: 200, noNaN: true }),
      seconds: fc.double({ min: 0, max: 3, noNaN: true }),
    }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(
      stretches,
      fc.constantFrom('poisson' as const, 'constant' as const),
      fc.integer(),
      (plan, kind, seed) => {
        const due = schedule(plan, kind, seeded(seed));
        const totalMs = plan.reduce((sum, { seconds }) => sum + seconds * 1000, 0);
        return due.every((at, index) => at >= (due[index - 1] ?? 0) && at <= totalMs + 1e-6);
      },
    ),
  );
});

test('a rate that is no number and a schedule without end are refused', () => {
  assert.throws(() => schedule([{ rate: Number.NaN, seconds: 1 }], 'constant', seeded(1)), RangeError);
  assert.throws(() => schedule([{ rate: 1, seconds: -1 }], 'constant', seeded(1)), RangeError);
  assert.throws(() => schedule([{ rate: MAX_ARRIVALS, seconds: 2 }], 'constant', seeded(1)), RangeError);
});

test('each purpose has chance of its own', () => {
  assert.notEqual(seededFor(1, 'arrivals')(), seededFor(1, 'styles')());
  assert.equal(seededFor(1, 'styles')(), seededFor(1, 'styles')());
});
