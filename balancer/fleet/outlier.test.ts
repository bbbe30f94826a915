import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { afterWork, type Census, counts, FAULTS, type OutlierState, SOUND, slotsOf } from './outlier.ts';

const FLEET: Census = { healthy: 4, out: 0 };
const even = () => 0.5;
/** The state after so many faults in a row at one moment. */
const faulty = (count: number, census = FLEET, now = 0, from = SOUND): OutlierState =>
  Array.from({ length: count }).reduce<OutlierState>(
    (state) => afterWork(state, 'fault', census, now, even),
    from,
  );

test('five faults in a row take an upstream out for 5 s', () => {
  assert.equal(faulty(FAULTS - 1).kind, 'in');
  assert.deepEqual(faulty(FAULTS), { kind: 'out', until: 5000, terms: 1 });
});

test('a success between faults starts the count again', () => {
  const state = afterWork(faulty(FAULTS - 1), 'success', FLEET, 0, even);
  assert.equal(faulty(FAULTS - 1, FLEET, 0, state).kind, 'in');
});

test('out, nothing counts on it; its term over, it gets one request', () => {
  const out = faulty(FAULTS);
  assert.equal(counts(out, 4999), false);
  assert.equal(counts(out, 5000), true);
  assert.equal(slotsOf(out, 8), 1);
  assert.equal(slotsOf(SOUND, 8), 8);
});

test('the one request decides: well, it is back; ill, it is out for twice as long, up to a minute', () => {
  const out = faulty(FAULTS);
  const back = afterWork(out, 'success', FLEET, 6000, even);
  assert.equal(back.kind, 'in');
  let state: OutlierState = out;
  const terms: number[] = [];
  let now = 5000;
  for (let i = 0; i < 6; i++) {
    state = afterWork(state, 'fault', FLEET, now, even);
    assert.ok(state.kind === 'out');
    terms.push(state.until - now);
    now = state.until;
  }
  assert.deepEqual(terms, [10_000, 20_000, 40_000, 50_000, 50_000, 50_000]);
});

test('what was given out before the term and ends within it changes nothing', () => {
  const out = faulty(FAULTS);
  assert.equal(afterWork(out, 'fault', FLEET, 100, even), out);
  assert.equal(afterWork(out, 'success', FLEET, 100, even), out);
});

test('one that fails soon again is out for longer; one that was good for long begins anew', () => {
  const back = afterWork(faulty(FAULTS), 'success', FLEET, 6000, even);
  const soon = faulty(FAULTS, FLEET, 10_000, back);
  const late = faulty(FAULTS, FLEET, 200_000, back);
  assert.ok(soon.kind === 'out' && late.kind === 'out');
  assert.equal(soon.until - 10_000, 10_000);
  assert.equal(late.until - 200_000, 5000);
});

const CAPS: { name: string; census: Census; ejects: boolean }[] = [
  { name: 'the only one stays', census: { healthy: 1, out: 0 }, ejects: false },
  { name: 'one of two goes', census: { healthy: 2, out: 0 }, ejects: true },
  { name: 'the second of two stays', census: { healthy: 2, out: 1 }, ejects: false },
  { name: 'one of three goes', census: { healthy: 3, out: 0 }, ejects: true },
  {
    name: 'the second of three stays: that would be over half',
    census: { healthy: 3, out: 1 },
    ejects: false,
  },
  { name: 'the second of four goes', census: { healthy: 4, out: 1 }, ejects: true },
  { name: 'the third of four stays', census: { healthy: 4, out: 2 }, ejects: false },
];
for (const { name, census, ejects } of CAPS)
  test(name, () => assert.equal(faulty(FAULTS, census).kind, ejects ? 'out' : 'in'));

test('whatever happens in a fleet: never the last, never over half, terms within bounds', () => {
  const step = fc.record({
    id: fc.nat(5),
    end: fc.constantFrom('success' as const, 'fault' as const, 'fault' as const, 'fault' as const),
    gap: fc.nat(3000),
    draw: fc.double({ min: 0, max: 0.999, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 200 }), (size, steps) => {
      const fleet: OutlierState[] = Array.from({ length: size }, () => SOUND);
      let now = 0;
      for (const { id, end, gap, draw } of steps) {
        now += gap;
        const at = id % size;
        const out = fleet.filter(({ kind }) => kind === 'out').length;
        const before = fleet[at] ?? SOUND;
        const after = afterWork(before, end, { healthy: size, out }, now, () => draw);
        fleet[at] = after;
        if (after.kind === 'out' && after !== before)
          assert.ok(after.until - now >= 4000 && after.until - now <= 60_000);
        const gone = fleet.filter(({ kind }) => kind === 'out').length;
        assert.ok(gone < size && gone * 2 <= size);
      }
    }),
  );
});
