import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { mayLeave } from './availability.ts';

const judge = (available: readonly boolean[], leaving: number, minAvailable: number) =>
  mayLeave(
    available.map((each, index) => ({ id: `n${index}`, available: each })),
    { id: `n${leaving}`, name: `vm-${leaving}` },
    minAvailable,
    'Draining',
  );

const CASES: { name: string; available: boolean[]; min: number; may: boolean }[] = [
  { name: 'the last node', available: [true], min: 1, may: false },
  { name: 'the last node where none has to stay', available: [true], min: 0, may: true },
  { name: 'one of two', available: [true, true], min: 1, may: true },
  { name: 'one of two where two have to stay', available: [true, true], min: 2, may: false },
  { name: 'one whose only companion is out', available: [true, false], min: 1, may: false },
  { name: 'one that serves nobody anyway', available: [false, false], min: 1, may: true },
];
for (const { name, available, min, may } of CASES)
  test(`${name} ${may ? 'may' : 'may not'} leave`, () => {
    const verdict = judge(available, 0, min);
    assert.equal(verdict.kind, may ? 'may_leave' : 'refused');
    if (verdict.kind === 'refused')
      assert.match(verdict.sentence, /Draining vm-0 would leave \d nodes? in service/);
  });

test('whatever leaves one after the other, what has to stay stays', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(7), { maxLength: 20 }),
      fc.nat(5),
      (start, wishes, min) => {
        const available = [...start];
        const had = available.filter(Boolean).length;
        for (const wish of wishes)
          if (wish < available.length && judge(available, wish, min).kind === 'may_leave')
            available[wish] = false;
        assert.ok(available.filter(Boolean).length >= Math.min(had, min));
      },
    ),
  );
});
