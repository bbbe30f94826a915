import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { aRun, aStep } from '../result.example.ts';
import type { Second } from '../result.ts';
import { htmlText, lineChart, ticks } from './charts.ts';
import { compare, differencesOfKind } from './compare.ts';
import { htmlReport } from './html.ts';
import { textReport } from './table.ts';

const seconds = (p50: number): Second[] =>
  Array.from({ length: 30 }, (_, t) => ({
    t,
    sent: 20,
    ok: 20,
    shed: 0,
    failed: 0,
    p50: p50 * (1 + 0.02 * Math.sin(t)),
    p95: 2 * p50,
    p99: 3 * p50,
    in_flight: 3,
    queue_ms: 10,
    cpu: 0.7,
    queue_length: 1,
    worker_memory_mb: 300,
  }));
const held = (mean: number) =>
  aStep({
    latency_ms: { mean, p50: mean, p90: mean, p95: mean, p99: mean, max: mean },
    over_time: seconds(mean),
  });

const ceilings: { name: string; before: number; now: number; verdict: string }[] = [
  { name: 'a ceiling that is a fifth higher is better', before: 20, now: 24, verdict: 'better' },
  { name: 'a ceiling that is a fifth lower is worse', before: 20, now: 16, verdict: 'worse' },
  {
    name: 'a ceiling within what both searches left open is the same',
    before: 20,
    now: 21.5,
    verdict: 'the same within noise',
  },
];
for (const { name, before, now, verdict } of ceilings) {
  test(name, () => {
    const run = (ceiling_qps: number) =>
      aRun({ ceiling_qps, ceiling_above_qps: ceiling_qps * 1.05, steps: [] });
    assert.deepEqual(
      compare(run(before), run(now)).map((difference) => difference.verdict),
      [verdict],
    );
  });
}

test('the same load is compared by its mean; slower is worse', () => {
  const [difference] = compare(
    aRun({ ceiling_qps: null, steps: [held(100)] }),
    aRun({ ceiling_qps: null, steps: [held(140)] }),
  );
  assert.equal(difference?.verdict, 'worse');
  const [same] = compare(
    aRun({ ceiling_qps: null, steps: [held(100)] }),
    aRun({ ceiling_qps: null, steps: [held(105)] }),
  );
  assert.equal(same?.verdict, 'the same within noise');
});

test('steps of another load or cut short are not compared', () => {
  const one = aRun({ ceiling_qps: null, steps: [held(100)] });
  assert.deepEqual(compare(one, { ...one, steps: [{ ...held(100), offered_qps: 30 }] }), []);
  assert.deepEqual(compare(one, { ...one, steps: [{ ...held(100), ended: 'failed early' }] }), []);
});

test('a baseline from another machine or service level is named', () => {
  const other = aRun({
    machine: { ...aRun().machine, cpu: 'Other CPU' },
    slo: { ...aRun().slo, p95_ms: 1000 },
  });
  assert.deepEqual(differencesOfKind(aRun(), other), [
    'the baseline had another CPU',
    'the baseline had another service level',
  ]);
  assert.deepEqual(differencesOfKind(aRun(), aRun()), []);
});

test('text from outside cannot become markup', () => {
  const page = htmlReport(
    aRun({ command: '<script>alert(1)</script>', styles: ['"><img src=x>'] }),
    undefined,
  );
  assert.doesNotMatch(page, /<script>alert|<img/);
  assert.equal(htmlText('<a href="x">&'), '&#60;a href=&#34;x&#34;&#62;&#38;');
});

test('a page without steps or samples is a page still', () => {
  assert.match(htmlReport(aRun({ steps: [], ceiling_qps: null }), []), /nothing in common/);
});

test('the page shows clause, machine, commit and command', () => {
  const page = htmlReport(
    aRun({ steps: [held(1000), { ...held(1200), offered_qps: 30, label: '30.0/s' }] }),
    undefined,
  );
  for (const words of [
    'P95 limit 3.00 s',
    'Example CPU',
    'abcdef0123',
    'toonfleet loadtest http://127.0.0.1:8080',
    'ceiling 20.0/s',
  ])
    assert.ok(page.includes(words), words);
});

test('the terminal report ends with its verdict', () => {
  assert.match(textReport(aRun(), undefined).trimEnd(), /\nMET: The ceiling is 20\.0\/s .*$/);
});

test('ticks are round, evenly spaced, and embrace the range', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
      (from, span) => {
        const all = ticks(from, from + span, 5);
        const step = (all[1] ?? 0) - (all[0] ?? 0);
        return (
          all.length >= 2 &&
          all.length <= 9 &&
          (all[0] ?? 1) <= from + 1e-6 * span &&
          (all.at(-1) ?? 0) >= from + span - 1e-6 * span &&
          all.every(
            (tick, index) =>
              index === 0 || Math.abs(tick - (all[index - 1] ?? 0) - step) < 1e-6 * step + 1e-9 * tick,
          )
        );
      },
    ),
  );
});

test('every point of a chart lies inside its drawing, also those above its top', () => {
  const points: [number, number][] = [
    [0, 1],
    [5, 3],
    [9, 400],
  ];
  const svg = lineChart({
    title: 't',
    width: 500,
    height: 200,
    x: { label: 'x', unit: '' },
    y: { label: 'y', unit: '', max: 5 },
    series: [{ name: 's', tone: 'ok', dots: true, points }],
  });
  for (const [, cx, cy] of svg.matchAll(/<circle cx="([\d.-]+)" cy="([\d.-]+)"/g)) {
    assert.ok(Number(cx) >= 0 && Number(cx) <= 500 && Number(cy) >= 0 && Number(cy) <= 200, `${cx},${cy}`);
  }
});
