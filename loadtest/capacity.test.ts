import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ceilingAt, type Demand, fitCeilings, type Measured, planFleet } from './capacity.ts';
import { aRun, aStep } from './result.example.ts';

const point = (nodes: number, ceilingQps: number): Measured => ({
  source: `${nodes}.json`,
  nodes,
  slots: 2 * nodes,
  ceilingQps,
});
const demand: Demand = { targetQps: 50, headroom: 0.3, spare: 1, zones: 1, speed: 1 };

const plans: { name: string; points: Measured[]; demand?: Partial<Demand>; nodes: number; needed: number }[] =
  [
    {
      name: 'fifty a second from nodes of ten, three tenths free and one spare',
      points: [point(1, 10)],
      nodes: 9,
      needed: 8,
    },
    {
      name: 'without headroom and spare it is a division',
      points: [point(1, 10)],
      demand: { headroom: 0, spare: 0 },
      nodes: 5,
      needed: 5,
    },
    {
      name: 'three zones are filled evenly and one may be lost',
      points: [point(1, 10)],
      demand: { zones: 3 },
      nodes: 9,
      needed: 8,
    },
    {
      name: 'two zones must each carry the load alone',
      points: [point(1, 10)],
      demand: { zones: 2 },
      nodes: 10,
      needed: 8,
    },
    {
      name: 'a model that is twice as fast needs half the nodes',
      points: [point(1, 10)],
      demand: { speed: 2 },
      nodes: 5,
      needed: 4,
    },
    { name: 'two measurements give a line', points: [point(1, 10), point(2, 20)], nodes: 9, needed: 8 },
  ];
for (const { name, points, demand: changes, nodes, needed } of plans) {
  test(name, () => {
    const plan = planFleet(
      { ...demand, ...changes },
      fitCeilings(points),
      Math.max(...points.map((each) => each.nodes)),
    );
    assert.deepEqual([plan?.nodes, plan?.needed], [nodes, needed]);
  });
}

test('a plan far beyond what was measured says how far', () => {
  const plan = planFleet(demand, fitCeilings([point(3, 30)]), 3);
  assert.equal(plan?.extrapolation, 3);
});

test('a single measurement is a fit that nothing has tested', () => {
  assert.equal(fitCeilings([point(1, 10)]).r2, null);
  const line = fitCeilings([point(1, 10), point(2, 19)]);
  assert.ok(line.r2 !== null && line.r2 > 0.98 && line.r2 < 1);
});

test('points on a scalability curve give the curve back', () => {
  const curve = (n: number) => (10 * n) / (1 + 0.03 * (n - 1) + 0.002 * n * (n - 1));
  const fit = fitCeilings([1, 2, 4, 8, 16, 24].map((n) => point(n, curve(n))));
  assert.equal(fit.kind, 'universal scalability law');
  assert.ok(Math.abs(fit.ceilingOf(12) - curve(12)) < 0.01);
  assert.ok((fit.r2 ?? 0) > 0.9999);
});

test('a fleet that stops scaling may carry no demand at all', () => {
  const curve = (n: number) => (10 * n) / (1 + 0.1 * (n - 1) + 0.02 * n * (n - 1));
  const fit = fitCeilings([1, 2, 3, 4, 6, 8].map((n) => point(n, curve(n))));
  assert.equal(planFleet({ ...demand, targetQps: 500 }, fit, 8), undefined);
});

test('whatever the demand, the plan carries it as promised, and one node less would not', () => {
  const demands = fc.record({
    targetQps: fc.double({ min: 0.5, max: 900, noNaN: true }),
    headroom: fc.double({ min: 0, max: 0.8, noNaN: true }),
    spare: fc.nat(3),
    zones: fc.integer({ min: 1, max: 5 }),
    speed: fc.double({ min: 0.2, max: 4, noNaN: true }),
  });
  fc.assert(
    fc.property(demands, fc.double({ min: 0.5, max: 60, noNaN: true }), (wanted, perNode) => {
      const fit = fitCeilings([point(1, perNode)]);
      const plan = planFleet(wanted, fit, 1);
      // No plan is honest only where ten thousand nodes do not do.
      const share = Math.min(1 - wanted.headroom, wanted.zones === 1 ? 1 : (wanted.zones - 1) / wanted.zones);
      if (!plan) return wanted.targetQps / (perNode * wanted.speed * share) > 9900;
      const carried = plan.needed * perNode * wanted.speed * (1 - wanted.headroom);
      return (
        carried >= wanted.targetQps * (1 - 1e-9) &&
        (plan.needed - 1) * perNode * wanted.speed * (1 - wanted.headroom) < wanted.targetQps &&
        plan.nodes >= plan.needed + wanted.spare &&
        (wanted.zones === 1 ||
          (plan.nodes % wanted.zones === 0 && (plan.ceilingWithoutZoneQps ?? 0) >= wanted.targetQps))
      );
    }),
  );
});

const at = (offered_qps: number, p95: number, verdict: 'met' | 'not met' = 'met') =>
  aStep({
    offered_qps,
    verdict,
    latency_ms: { mean: p95 / 2, p50: p95 / 2, p90: p95, p95, p99: p95, max: p95 },
  });
const run = aRun({
  ceiling_qps: 20,
  slo: { p95_ms: 3000, max_error_rate: 0.01, max_cpu: null, max_worker_memory_mb: null },
  steps: [at(10, 400), at(15, 900), at(18, 1800), at(20, 2900), at(21, 5000, 'not met')],
});

test('a ceiling is read at a tighter P95 from the steps that kept it', () => {
  assert.deepEqual(ceilingAt(run, 3000), { qps: 20 });
  assert.deepEqual(ceilingAt(run, 5000), { qps: 20 });
  assert.deepEqual(ceilingAt(run, 2000), { qps: 18 });
  assert.deepEqual(ceilingAt(run, 1000), { qps: 15 });
  assert.ok('fault' in ceilingAt(run, 100));
});

test('a rate above one that was too slow does not count', () => {
  assert.deepEqual(ceilingAt({ ...run, steps: [at(10, 400), at(15, 2500), at(18, 1500)] }, 2000), {
    qps: 10,
  });
});

test('a run without a ceiling cannot be planned with', () => {
  assert.ok('fault' in ceilingAt({ ...run, ceiling_qps: null }, 3000));
});
