import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Slo } from './result.ts';
import { defaultSlo } from './run.ts';
import { allowedGrowth, earlyVerdict, type Judged, judge, met, type Progress, upperBound } from './slo.ts';

const slo: Slo = { p95_ms: 3000, max_error_rate: 0.01, max_cpu: 0.9, max_worker_memory_mb: 500 };
const latency = (p95: number) => ({ mean: p95 / 2, p50: p95 / 2, p90: p95, p95, p99: p95, max: p95 });

const good: Judged = {
  model: 'open',
  offered_qps: 20,
  seconds: 30,
  requests: 600,
  error_rate: 0,
  latency_ms: latency(1200),
  backlog_growth: 0,
  cpu: 0.7,
  worker_memory_mb: 320,
};

const judgements: {
  name: string;
  step: Partial<Judged>;
  slo?: Partial<Slo>;
  failed: string[];
  ungraded: string[];
}[] = [
  { name: 'a good step meets every clause', step: {}, failed: [], ungraded: [] },
  { name: 'a P95 on the limit is met', step: { latency_ms: latency(3000) }, failed: [], ungraded: [] },
  { name: 'a P95 over the limit is not', step: { latency_ms: latency(3001) }, failed: ['p95'], ungraded: [] },
  { name: 'errors on the limit are met', step: { error_rate: 0.01 }, failed: [], ungraded: [] },
  { name: 'errors over the limit are not', step: { error_rate: 0.011 }, failed: ['errors'], ungraded: [] },
  { name: 'a busy node fails', step: { cpu: 0.95 }, failed: ['cpu'], ungraded: [] },
  { name: 'a fat worker fails', step: { worker_memory_mb: 501 }, failed: ['memory'], ungraded: [] },
  {
    name: 'a growing backlog fails although its P95 is fine',
    step: { backlog_growth: 30 },
    failed: ['keeps up'],
    ungraded: [],
  },
  {
    name: 'what was not measured is not graded',
    step: { cpu: null, worker_memory_mb: null },
    failed: [],
    ungraded: ['cpu', 'memory'],
  },
  {
    name: 'a clause that is off is not graded',
    step: { latency_ms: latency(9000) },
    slo: { p95_ms: null },
    failed: [],
    ungraded: ['p95'],
  },
  {
    name: 'no picture at all fails the P95',
    step: { latency_ms: null, error_rate: 1 },
    failed: ['p95', 'errors'],
    ungraded: [],
  },
];

for (const { name, step, slo: changes, failed, ungraded } of judgements) {
  test(name, () => {
    const clauses = judge({ ...good, ...step }, { ...slo, ...changes });
    assert.deepEqual(
      clauses.filter((clause) => clause.met === false).map((clause) => clause.name),
      failed,
    );
    assert.deepEqual(
      clauses.filter((clause) => clause.met === null).map((clause) => clause.name),
      ungraded,
    );
    assert.equal(met(clauses), failed.length === 0);
  });
}

test('a closed step has no backlog to keep up with', () => {
  const clauses = judge({ ...good, model: 'closed', offered_qps: null, backlog_growth: 99 }, slo);
  assert.equal(
    clauses.some(({ name }) => name === 'keeps up'),
    false,
  );
});

const running: Progress = {
  planned: 600,
  ratePerSecond: 20,
  elapsedMs: 10_000,
  done: 190,
  errors: 0,
  overLimit: 0,
  inFlight: 10,
  inFlightOverLimit: 0,
  p95Ms: 1000,
  backlogGrowth: 0,
};
const early = { minRequests: 100, minMs: 5000 };

const verdicts: { name: string; progress: Partial<Progress>; kind: string; why?: RegExp }[] = [
  { name: 'far from the limit with pictures enough, a step passes early', progress: {}, kind: 'passes' },
  { name: 'near the limit it goes on', progress: { p95Ms: 1501 }, kind: 'open' },
  { name: 'with few pictures it goes on', progress: { done: 99 }, kind: 'open' },
  { name: 'after a short time it goes on', progress: { elapsedMs: 4999 }, kind: 'open' },
  { name: 'with one error it goes on', progress: { errors: 1 }, kind: 'open' },
  { name: 'with a growing backlog it goes on', progress: { backlogGrowth: 5 }, kind: 'open' },
  { name: 'errors that no rest can mend fail it', progress: { errors: 7 }, kind: 'fails', why: /errors/ },
  { name: 'errors that the rest could mend do not', progress: { errors: 6 }, kind: 'open' },
  {
    name: 'late pictures that no rest can mend fail it',
    progress: { overLimit: 20, inFlightOverLimit: 12 },
    kind: 'fails',
    why: /over 3.00 s/,
  },
  {
    name: 'late pictures that the rest could mend do not',
    progress: { overLimit: 20, inFlightOverLimit: 11 },
    kind: 'open',
  },
  {
    name: 'a queue that all must wait in for too long fails it',
    progress: { inFlight: 91 },
    kind: 'fails',
    why: /diverges/,
  },
];

for (const { name, progress, kind, why } of verdicts) {
  test(name, () => {
    const verdict = earlyVerdict({ ...running, ...progress }, slo, early);
    assert.equal(verdict.kind, kind);
    if (why && verdict.kind !== 'open') assert.match(verdict.why, why);
  });
}

test('without early passes only failures end a step', () => {
  assert.equal(earlyVerdict(running, slo, null).kind, 'open');
});

test('an early failure is never mended: it stays one whatever comes after', () => {
  const counts = fc.record({
    errors: fc.nat(30),
    overLimit: fc.nat(60),
    more: fc.nat(400),
    inFlight: fc.nat(40),
  });
  fc.assert(
    fc.property(counts, ({ errors, overLimit, more, inFlight }) => {
      const now = { ...running, errors, overLimit, inFlight };
      if (earlyVerdict(now, slo, null).kind !== 'fails') return true;
      // The best that can follow: all others come back in time.
      const total = Math.max(running.planned, now.done + more);
      const share = overLimit / Math.max(1, total - errors);
      return total > running.planned || errors / total > 0.01 || share > 0.05;
    }),
  );
});

test('the upper bound of a share falls with more trials and rises with more hits', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.nat(50), (n, hits) => {
      const bound = upperBound(Math.min(hits, n), n);
      return (
        bound >= Math.min(hits, n) / n - 1e-9 &&
        bound <= 1 &&
        upperBound(Math.min(hits, n), 2 * n) <= bound + 1e-9
      );
    }),
  );
  assert.equal(upperBound(0, 0), 1);
  assert.ok(upperBound(0, 110) < 0.05 && upperBound(0, 90) > 0.05);
});

test('chance explains more growth in a short step, two percent in a long one', () => {
  assert.equal(allowedGrowth(100), 5);
  assert.equal(allowedGrowth(10_000), 200);
});

test('the kept service level is a valid one', () => {
  assert.equal(defaultSlo().p95_ms, 3000);
});
