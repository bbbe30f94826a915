import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Advice, recommend, type Signal, settle } from './scale.ts';

const percent = (value: number) => `${Math.round(value * 100)} %`;
const cpu = (values: number[], unmeasured = 0): Signal => ({
  kind: 'each',
  name: 'cpu',
  target: 0.7,
  say: percent,
  values,
  unmeasured,
});
const queue = (value: number | undefined): Signal => ({
  kind: 'whole',
  name: 'queue length',
  target: 50,
  say: String,
  value,
});

test('the arithmetic of HPA, case by case', () => {
  const cases: [string, Signal[], number, number][] = [
    ['one worker that never rests needs a second one', [cpu([1])], 1, 2],
    ['the mean counts, not the busiest', [cpu([1, 0.4])], 2, 2],
    ['63 % is within the tolerance of 70 %', [cpu([0.63, 0.63, 0.63])], 3, 3],
    ['77 % as well', [cpu([0.77, 0.77])], 2, 2],
    ['78 % is not', [cpu([0.78, 0.78])], 2, 3],
    ['idle workers are not needed', [cpu([0, 0, 0, 0])], 4, 0],
    ['35 % is half of what it should be', [cpu([0.35, 0.35, 0.35, 0.35])], 4, 2],
    ['the largest wins', [cpu([0.35, 0.35]), queue(120)], 2, 5],
    ['a missing signal forbids to go down', [cpu([0.1, 0.1]), queue(undefined)], 2, 2],
    ['and lets it go up', [cpu([1, 1]), queue(undefined)], 2, 3],
    ['nothing known, nothing done', [cpu([]), queue(undefined)], 2, 2],
    ['no signal, nothing done', [], 2, 2],
    ['a newcomer counts as idle on the way up', [cpu([1, 1], 1)], 3, 3],
    ['even so it may not be enough', [cpu([1, 1, 1, 1], 1)], 5, 6],
    ['and as busy on the way down', [cpu([0.2, 0.2], 1)], 3, 2],
    ['which never turns the way around', [cpu([0.5], 2)], 3, 3],
    ['an empty queue asks for nobody', [queue(0)], 3, 0],
    ['twice the queue, twice the workers', [queue(100)], 3, 6],
  ];
  for (const [sentence, signals, current, count] of cases)
    assert.equal(recommend(signals, current, 0.1).count, count, sentence);
});

test('the arithmetic is told in words', () => {
  assert.equal(recommend([cpu([0.9, 0.92])], 2, 0.1).words, 'cpu: 2 × 91 % / 70 % = 2.60 → 3');
  assert.equal(
    recommend([cpu([0.2, 0.2]), queue(undefined)], 2, 0.1).words,
    'cpu: 2 × 20 % / 70 % = 0.57 → 1, but not fewer; queue length: unknown',
  );
  assert.match(recommend([cpu([0.7])], 1, 0.1).words, /within the tolerance → 1$/);
});

const caution = { tolerance: 0.1, upAfterMs: 0, downAfterMs: 300_000 };
const bounds = { min: 1, max: 8 };
const advice = (count: number) => ({ count, by: 'cpu', words: '' });

test('it goes up at once, and down only after five quiet minutes', () => {
  let history: readonly Advice[] = [{ at: 0, count: 2 }];
  const judge = (count: number, current: number, now: number) => {
    const verdict = settle(advice(count), history, current, bounds, caution, now);
    history = verdict.history;
    return verdict.desired;
  };
  assert.equal(judge(4, 2, 15_000), 4);
  assert.equal(judge(1, 4, 30_000), 4);
  assert.equal(judge(1, 4, 300_000), 4);
  assert.equal(judge(2, 4, 314_999), 4, 'the four is not yet 300 s old');
  assert.equal(judge(1, 4, 315_000), 2, 'the highest of the window');
  assert.equal(judge(1, 2, 614_999), 1);
});

test('with up_after, one peak brings nobody', () => {
  const slow = { ...caution, upAfterMs: 30_000 };
  let { desired, history } = settle(advice(2), [{ at: 0, count: 1 }], 1, bounds, slow, 15_000);
  assert.equal(desired, 1);
  ({ desired, history } = settle(advice(3), history, 1, bounds, slow, 30_000));
  assert.equal(desired, 2, 'the lowest of the last 30 s');
});

test('other bounds hold at once', () => {
  const verdict = settle(advice(4), [{ at: 0, count: 4 }], 4, { min: 1, max: 1 }, caution, 1000);
  assert.equal(verdict.desired, 1);
  assert.match(verdict.words, /1 by the bounds 1 to 1/);
});

const anyValues = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 16 });
const anyBounds = fc
  .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 20 }))
  .map(([min, more]) => ({ min, max: min + more }));
const anyHistory = fc.array(
  fc.record({ at: fc.integer({ min: 0, max: 1_000_000 }), count: fc.integer({ min: 0, max: 40 }) }),
  { maxLength: 20 },
);

test('whatever the signals say, the bounds hold', () => {
  fc.assert(
    fc.property(
      anyValues,
      fc.option(fc.integer({ min: 0, max: 10_000 }), { nil: undefined }),
      fc.integer({ min: 0, max: 40 }),
      anyBounds,
      anyHistory,
      (values, waiting, current, limits, history) => {
        const wish = recommend([cpu(values), queue(waiting)], current, 0.1);
        const { desired } = settle(wish, history, current, limits, caution, 1_000_000);
        assert.ok(desired >= limits.min && desired <= limits.max && Number.isInteger(desired));
      },
    ),
  );
});

test('a load that stays within the tolerance never changes anything', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 16 }),
      fc.array(fc.double({ min: 0.9001, max: 1.0999, noNaN: true }), { minLength: 1, maxLength: 40 }),
      (workers, ratios) => {
        let history: readonly Advice[] = [{ at: 0, count: workers }];
        for (const [tick, ratio] of ratios.entries()) {
          const wish = recommend([cpu(Array<number>(workers).fill(0.7 * ratio))], workers, 0.1);
          const verdict = settle(wish, history, workers, { min: 1, max: 32 }, caution, tick * 15_000);
          assert.equal(verdict.desired, workers);
          history = verdict.history;
        }
      },
    ),
  );
});

test('more load never asks for fewer', () => {
  const load = fc.double({ min: 0, max: 5, noNaN: true });
  fc.assert(
    fc.property(load, load, fc.integer({ min: 1, max: 16 }), fc.nat(4), (a, b, workers, unmeasured) => {
      const [less, more] = a < b ? [a, b] : [b, a];
      const known = Math.max(1, workers - unmeasured);
      const count = (value: number) =>
        recommend([cpu(Array<number>(known).fill(value), workers - known)], workers, 0.1).count;
      assert.ok(count(less) <= count(more), `${count(less)} for ${less}, ${count(more)} for ${more}`);
      const waiting = (value: number) => recommend([queue(value * 100)], workers, 0.1).count;
      assert.ok(waiting(less) <= waiting(more));
    }),
  );
});

test('a dip that is shorter than the window lets nobody go', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 16 }),
      fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 1, maxLength: 18 }),
      (workers, dip) => {
        // Every 15 s for at most 285 s after the last time that all were needed.
        let history: readonly Advice[] = [{ at: 0, count: workers }];
        for (const [tick, count] of dip.entries()) {
          const low = Math.min(count, workers);
          const verdict = settle(
            advice(low),
            history,
            workers,
            { min: 1, max: 32 },
            caution,
            (tick + 1) * 15_000,
          );
          assert.equal(verdict.desired, workers);
          history = verdict.history;
        }
      },
    ),
  );
});
