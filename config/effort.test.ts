import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  autoSides,
  effortHeader,
  fastSide,
  fullSide,
  LEAST_SIDE,
  LESSER_SIDES,
  readEffort,
} from './effort.ts';

const full: [name: string, sides: Parameters<typeof fullSide>[0], maxSide: number, expected: number][] = [
  ['a photo larger than max_side', { width: 4000, height: 3000 }, 1024, 1024],
  ['a photo smaller than max_side', { width: 300, height: 640 }, 1024, 640],
  ['a header that does not tell', {}, 512, 512],
];
for (const [name, sides, maxSide, expected] of full)
  test(`the full side of ${name}`, () => assert.equal(fullSide(sides, maxSide), expected));

const fast: [full: number, side: number][] = [
  [1024, 512],
  [601, 301],
  [512, 256],
  [400, 256],
  [100, 100],
];
for (const [side, expected] of fast)
  test(`fast draws ${side} px at ${expected}`, () => assert.equal(fastSide(side), expected));

test('auto goes down from the full side in a few known steps, the least of them 256', () => {
  assert.deepEqual(autoSides(1024), [1024, 768, 512, 384, 256]);
  assert.deepEqual(autoSides(900), [900, 768, 512, 384, 256]);
  assert.deepEqual(autoSides(256), [256]);
  assert.deepEqual(autoSides(100), [100]);
});

test('no effort enlarges, none goes below the least side, and all of auto is bounded', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4096 }), (side) => {
      const sides = [fastSide(side), ...autoSides(side)];
      assert.ok(sides.every((each) => each <= side && each >= Math.min(side, LEAST_SIDE)));
      assert.ok(autoSides(side).length <= LESSER_SIDES.length + 1);
    }),
  );
});

test('what an answer says of its effort is read as it was meant', () => {
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 1, max: 99_999 }), { nil: undefined }),
      fc.option(fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,63}$/), { nil: undefined }),
      (side, style) => assert.deepEqual(readEffort(effortHeader({ side, style })), { side, style }),
    ),
  );
  for (const header of [undefined, '', 'full', 'heroic; side=many'])
    assert.deepEqual(readEffort(header), { side: undefined, style: undefined });
});
