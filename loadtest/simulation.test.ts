import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Heap } from './heap.ts';
import { seeded } from './random.ts';
import { type Simulation, serviceLike, simulate, simulatedCeiling } from './simulation.ts';

const constant: Simulation = {
  fleet: { nodes: 4, slotsPerNode: 2 },
  qps: 40,
  pictures: 20_000,
  service: () => 100,
  overheadMs: 0,
  queueLength: 1000,
  deadlineMs: 60_000,
  seed: 1,
};

/** Erlang's C: the chance that a picture must wait with k exponential slots at load a. */
function erlangC(k: number, a: number): number {
  let term = 1;
  let sum = 1;
  for (let n = 1; n < k; n++) {
    term *= a / n;
    sum += term;
  }
  const last = ((term * a) / k) * (k / (k - a));
  return last / (sum + last);
}

test('exponential service waits as long as queueing theory says', () => {
  // M/M/8 at 80 %: mean wait C(8, 6.4) / (8μ − λ).
  const result = simulate({
    ...constant,
    qps: 64,
    pictures: 200_000,
    service: (random) => -100 * Math.log(1 - random()),
  });
  const expected = 100 + (erlangC(8, 6.4) / (80 - 64)) * 1000;
  assert.ok(
    Math.abs((result.latency?.mean ?? 0) / expected - 1) < 0.05,
    `${result.latency?.mean} instead of ${expected}`,
  );
  assert.ok(Math.abs(result.utilisation - 0.8) < 0.02);
});

test('with idle slots nobody waits', () => {
  const { latency } = simulate({ ...constant, qps: 1 });
  assert.equal(latency?.p50, 100.031); // HDR rounds to three digits
});

test('beyond its capacity a fleet sheds what its queue cannot hold, and goes on at full rate', () => {
  const result = simulate({ ...constant, qps: 160, queueLength: 50 });
  assert.ok(Math.abs(result.shed / result.sent - 0.5) < 0.02, `${result.shed} of ${result.sent}`);
  assert.ok(result.utilisation > 0.98);
});

test('the simulated ceiling of constant work is a little below its capacity', () => {
  const ceiling = simulatedCeiling(constant, 100, 1000);
  assert.ok(ceiling !== null && ceiling > 74 && ceiling <= 80.9, `${ceiling}`);
});

test('a limit below the service time has no ceiling', () => {
  assert.equal(simulatedCeiling(constant, 100, 50), null);
});

test('drawn service times have the measured percentiles and the asked mean', () => {
  const measured = { mean: 120, p50: 100, p90: 200, p95: 250, p99: 400, max: 500 };
  const draw = serviceLike(measured, 130);
  const random = seeded(5);
  const drawn = Array.from({ length: 50_000 }, () => draw(random)).sort((a, b) => a - b);
  const mean = drawn.reduce((sum, ms) => sum + ms, 0) / drawn.length;
  assert.ok(Math.abs(mean / 130 - 1) < 0.02, `${mean}`);
  const ratio = (drawn[Math.floor(drawn.length * 0.95)] ?? 0) / (drawn[Math.floor(drawn.length * 0.5)] ?? 1);
  assert.ok(Math.abs(ratio / 2.5 - 1) < 0.03, `${ratio}`);
});

test('a heap gives everything back in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1000 })), (times) => {
      const heap = new Heap<{ readonly atMs: number }>();
      for (const atMs of times) heap.put({ atMs });
      const out: number[] = [];
      for (let next = heap.take(); next; next = heap.take()) out.push(next.atMs);
      assert.deepEqual(
        out,
        [...times].sort((a, b) => a - b),
      );
      assert.equal(heap.size, 0);
    }),
  );
});
