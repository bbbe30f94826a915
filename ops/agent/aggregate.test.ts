import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type Snapshot, snapshotSchema, Tally, totalOf } from './aggregate.ts';

const counted = (value: number, status = '200'): Snapshot => [
  {
    name: 'pictures_total',
    help: 'Pictures.',
    type: 'counter',
    aggregator: 'sum',
    values: [{ value, labels: { status, route: '/transform' } }],
  },
];
const pictures = (tally: Tally) => totalOf(tally.sum(), 'pictures_total');

test('two workers are summed, label by label', () => {
  const tally = new Tally();
  tally.take('a', [...counted(3)]);
  tally.take('b', [...counted(4), ...counted(1, '422')]);
  assert.equal(
    totalOf(tally.sum(), 'pictures_total', ({ status }) => status === '200'),
    7,
  );
  assert.equal(
    totalOf(tally.sum(), 'pictures_total', ({ status }) => status === '422'),
    1,
  );
});

test('labels in another order are the same series', () => {
  const tally = new Tally();
  tally.take('a', counted(3));
  const [series] = counted(4);
  assert.ok(series);
  tally.take('b', [{ ...series, values: [{ value: 4, labels: { route: '/transform', status: '200' } }] }]);
  assert.equal(tally.sum()[0]?.values.length, 1);
});

test('what a dead worker had counted stays counted', () => {
  const tally = new Tally();
  tally.take('a:1', counted(30));
  tally.take('b:2', counted(5));
  tally.bury('a:1', 0);
  tally.take('a:3', counted(1));
  assert.equal(pictures(tally), 36);
});

test('a worker that was only thought dead is not counted twice', () => {
  const tally = new Tally();
  tally.take('a:1', counted(30));
  tally.bury('a:1', 0);
  tally.take('a:1', counted(31));
  assert.equal(pictures(tally), 31);
});

test('the long dead are folded together and stay counted', () => {
  const tally = new Tally();
  tally.take('a:1', counted(30));
  tally.bury('a:1', 0);
  tally.take('b:2', counted(2));
  tally.bury('b:2', 4_000_000);
  assert.equal(pictures(tally), 32);
  assert.equal(totalOf(tally.dead(), 'pictures_total'), 32);
  assert.equal(
    totalOf(new Tally(tally.dead()).sum(), 'pictures_total'),
    32,
    'and survive another life of the agent',
  );
});

test('gauges belong to the living', async () => {
  const registry = new Registry();
  new Gauge({ name: 'busy', help: 'Busy.', registers: [registry] }).set(1);
  const snapshot = snapshotSchema.parse(await registry.getMetricsAsJSON());
  const tally = new Tally();
  tally.take('a', snapshot);
  tally.take('b', snapshot);
  assert.equal(totalOf(tally.sum(), 'busy'), 2);
  tally.bury('a', 0);
  assert.equal(totalOf(tally.sum(), 'busy'), 1);
});

test('the JSON of prom-client is understood, histograms too', async () => {
  const registry = new Registry();
  const stages = new Histogram({
    name: 'stage_seconds',
    help: 'Stages.',
    labelNames: ['stage'],
    buckets: [0.1, 1],
    registers: [registry],
  });
  new Counter({ name: 'done_total', help: 'Done.', registers: [registry] }).inc(2);
  stages.observe({ stage: 'infer' }, 0.5);
  stages.observe({ stage: 'infer' }, 2);
  const snapshot = snapshotSchema.parse(await registry.getMetricsAsJSON());
  const tally = new Tally();
  tally.take('a', snapshot);
  tally.bury('a', 0);
  tally.take('b', snapshot);
  assert.equal(totalOf(tally.sum(), 'stage_seconds_count'), 4);
  assert.equal(totalOf(tally.sum(), 'stage_seconds_sum'), 5);
  assert.equal(totalOf(tally.sum(), 'done_total'), 4);
});

test('whoever dies and is born, the sum never falls and is what all lives counted', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('count' as const), seat: fc.integer({ min: 0, max: 3 }), by: fc.nat(9) }),
    fc.record({ kind: fc.constant('restart' as const), seat: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 5_000_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const tally = new Tally();
      const lives = [0, 0, 0, 0];
      const values = [0, 0, 0, 0];
      let now = 0;
      let all = 0;
      let before = 0;
      for (const next of steps) {
        if (next.kind === 'wait') {
          now += next.ms;
          continue;
        }
        const { seat } = next;
        const source = `${seat}:${lives[seat]}`;
        if (next.kind === 'count') {
          values[seat] = (values[seat] ?? 0) + next.by;
          all += next.by;
          tally.take(source, counted(values[seat] ?? 0));
        } else {
          tally.bury(source, now);
          lives[seat] = (lives[seat] ?? 0) + 1;
          values[seat] = 0;
        }
        const total = pictures(tally);
        assert.ok(total >= before);
        assert.equal(total, all);
        before = total;
      }
    }),
  );
});
