import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { CEILING_DEFAULTS, type CeilingSettings, type NextMove, nextMove, type Trial } from './ceiling.ts';

const settings: CeilingSettings = { ...CEILING_DEFAULTS, startQps: 4 };

/** Plays a search against a server; returns the moves it made and its end. */
function search(
  server: (trial: Omit<Trial, 'passed'>, trials: readonly Trial[]) => boolean,
  from = settings,
) {
  const trials: Trial[] = [];
  for (;;) {
    const move = nextMove(from, trials);
    if (move.kind === 'done') return { trials, end: move };
    assert.ok(trials.length < 60, 'the search does not end');
    trials.push({ qps: move.qps, purpose: move.purpose, passed: server(move, trials) });
  }
}

const tried = (move: NextMove) =>
  move.kind === 'try' ? [move.purpose, Math.round(move.qps * 100) / 100] : move.kind;

const pass = (qps: number, purpose: Trial['purpose'] = 'ramp'): Trial => ({ qps, purpose, passed: true });
const fail = (qps: number, purpose: Trial['purpose'] = 'ramp'): Trial => ({ qps, purpose, passed: false });

const moves: { name: string; trials: Trial[]; next: unknown }[] = [
  { name: 'the search begins at its first rate', trials: [], next: ['ramp', 4] },
  { name: 'a rate that passed is raised by half', trials: [pass(4), pass(6)], next: ['ramp', 9] },
  { name: 'the ramp stops at the maximum', trials: [pass(1800)], next: ['ramp', 2000] },
  { name: 'a maximum that passes ends the search without a failure', trials: [pass(2000)], next: 'done' },
  { name: 'a first rate that fails is lowered', trials: [fail(9)], next: ['ramp', 4] },
  {
    name: 'between a pass and a failure lies their geometric mean',
    trials: [pass(4), fail(9)],
    next: ['bisect', 6],
  },
  { name: 'close together they are confirmed below', trials: [pass(20), fail(20.9)], next: ['confirm', 19] },
  {
    name: 'a failed confirmation tries lower',
    trials: [pass(20), fail(20.9), fail(19, 'confirm')],
    next: ['confirm', 18.05],
  },
  {
    name: 'five failed confirmations are enough',
    trials: [
      pass(20),
      fail(20.9),
      fail(19, 'confirm'),
      ...[18, 17, 16, 15].map((qps) => fail(qps, 'confirm')),
    ],
    next: 'done',
  },
];

for (const { name, trials, next } of moves) {
  test(name, () => assert.deepEqual(tried(nextMove(settings, trials)), next));
}

test('a server with a ceiling is found within the precision, and confirmed', () => {
  fc.assert(
    fc.property(fc.double({ min: 0.1, max: 1500, noNaN: true }), (ceiling) => {
      const { end } = search(({ qps }) => qps <= ceiling);
      assert.ok(end.kind === 'done' && end.ceilingQps !== null);
      assert.ok(end.ceilingQps <= ceiling && end.ceilingQps * (1 + settings.precision) >= ceiling * 0.9999);
      assert.ok(
        end.confirmedQps !== null && Math.abs(end.confirmedQps / end.ceilingQps - settings.confirmAt) < 1e-9,
      );
    }),
  );
});

test('whatever a server does, the search ends, and its ceiling is a rate that passed below every failure', () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.boolean()), (verdicts) => {
      const { trials, end } = search(() => verdicts.next().value);
      if (end.kind !== 'done' || end.ceilingQps === null) return true;
      const failures = trials.filter(({ passed }) => !passed).map(({ qps }) => qps);
      return (
        trials.some(({ qps, passed }) => passed && qps === end.ceilingQps) &&
        failures.every((qps) => qps > (end.ceilingQps ?? 0))
      );
    }),
  );
});

test('a server that passes nothing has no ceiling', () => {
  const { end } = search(() => false);
  assert.ok(end.kind === 'done');
  assert.equal(end.ceilingQps, null);
});

test('a ceiling that only short steps reach is lowered by its confirmation', () => {
  const { end } = search(({ qps, purpose }) => qps <= (purpose === 'confirm' ? 18 : 20));
  assert.ok(end.kind === 'done' && end.confirmedQps !== null);
  assert.ok(end.confirmedQps <= 18 && end.confirmedQps > 16);
  assert.ok(end.ceilingQps !== null && end.ceilingQps <= 19);
});
