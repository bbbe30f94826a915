import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { flatness, type Sample } from './flatness.ts';

const curve = (bytes: (at: number) => number, count = 100): Sample[] =>
  Array.from({ length: count }, (_, at) => ({ pictures: at * 10, bytes: bytes(at) }));

const cases: [name: string, curve: Sample[], flat: boolean][] = [
  ['that stays', curve(() => 400), true],
  ['that rises at first and then stays', curve((at) => Math.min(at, 30) * 10 + 100), true],
  ['that shrinks', curve((at) => 500 - at), true],
  ['that jumps up and down', curve((at) => 400 + (at % 2) * 100), true],
  ['that rises without end', curve((at) => 400 + at), false],
  ['that rises late', curve((at) => 400 + Math.max(0, at - 60) * 3), false],
];
for (const [name, samples, flat] of cases)
  test(`a curve ${name} is ${flat ? 'flat' : 'not flat'}`, () => assert.equal(flatness(samples)?.flat, flat));

test('the slope of a straight line is what it was drawn with', () => {
  fc.assert(
    fc.property(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 10, max: 500 }), (step, count) => {
      const found = flatness(curve((at) => 1e6 + step * at, count));
      assert.ok(found && Math.abs(found.bytesPerThousand - step * 100) < 1e-3);
    }),
  );
});

test('of a few samples nothing is said', () => {
  assert.equal(flatness(curve(() => 1, 6)), undefined);
  assert.equal(flatness([]), undefined);
});
