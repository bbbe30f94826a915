import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { featheredMask } from './mask.ts';

const cases = fc.tuple(fc.integer({ min: 32, max: 96 }), fc.double({ min: 0.1, max: 1, noNaN: true }));

test('a mask shows all of its middle and nothing of its border, and is the same all around', () => {
  fc.assert(
    fc.property(cases, ([side, feather]) => {
      const mask = featheredMask(side, feather);
      const at = (x: number, y: number) => mask[y * side + x] ?? -1;
      // An even side has no pixel in the very middle; with a feather of all the radius these are a little less than all.
      assert.ok(at(side >> 1, side >> 1) >= 253);
      for (let n = 0; n < side; n++) {
        assert.deepEqual([at(n, 0), at(0, n), at(n, side - 1), at(side - 1, n)], [0, 0, 0, 0]);
        assert.equal(at(n, side >> 1), at(side - 1 - n, (side - 1) >> 1));
      }
    }),
  );
});

test('a mask has no step that could be seen, and only falls from the middle outward', () => {
  fc.assert(
    fc.property(cases, ([side, feather]) => {
      const mask = featheredMask(side, feather);
      // A smooth fall over feather · side / 2 px is at its steepest half again as steep as a straight one.
      const steepest = (1.5 * 255) / ((feather * (side - 1)) / 2) + 1.5;
      const row = mask.subarray((side >> 1) * side, ((side >> 1) + 1) * side);
      for (let x = 1; x < side; x++) {
        const step = (row[x] ?? 0) - (row[x - 1] ?? 0);
        assert.ok(Math.abs(step) <= steepest, `${step} at ${x}`);
        assert.ok(x <= (side - 1) / 2 ? step >= 0 : x - 1 >= (side - 1) / 2 ? step <= 0 : true);
      }
    }),
  );
});
