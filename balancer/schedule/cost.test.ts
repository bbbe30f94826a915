import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Costs, workMegapixels } from './cost.ts';

/** Costs that have seen a picture of each size so often. */
const seen = (...pictures: [style: string | undefined, megapixels: number, ms: number][]) => {
  const costs = new Costs();
  for (const [style, megapixels, ms] of pictures)
    for (let i = 0; i < 50; i++) costs.learn(style, megapixels, ms);
  return costs;
};
const near = (found: number, expected: number) =>
  assert.ok(found >= expected && found < expected * 1.2, `${found} against ${expected}`);

test('before anything is known it expects something', () => {
  const costs = new Costs();
  assert.ok(costs.expect('meadow', 0.26) > 0);
  assert.ok(costs.average() > 0);
});

test('it expects what such pictures took lately', () => {
  const costs = seen(['meadow', 0.04, 40], ['meadow', 0.4, 400]);
  near(costs.expect('meadow', 0.04), 40);
  near(costs.expect('meadow', 0.4), 400);
});

test('sizes are kept apart, since no time is quite in proportion to the pixels', () => {
  const costs = seen(['meadow', 0.01, 30], ['meadow', 1, 300]);
  near(costs.expect('meadow', 0.01), 30);
  near(costs.expect('meadow', 1), 300);
});

test('a size that was never seen borrows from the nearest, a style from all', () => {
  const costs = seen(['meadow', 0.25, 100]);
  near(costs.expect('meadow', 1), 400);
  near(costs.expect('sky', 0.25), 100);
});

test('a style has its own cost', () => {
  const costs = seen(['meadow', 0.25, 50], ['hayao', 0.25, 900]);
  near(costs.expect('meadow', 0.25), 50);
  near(costs.expect('hayao', 0.25), 900);
});

test('a wrong beginning is forgotten', () => {
  const costs = new Costs();
  costs.learn('meadow', 0.25, 10_000);
  for (let i = 0; i < 60; i++) costs.learn('meadow', 0.25, 100);
  assert.ok(costs.expect('meadow', 0.25) < 200);
});

test('times that vary are expected on the careful side', () => {
  const costs = new Costs();
  for (let i = 0; i < 100; i++) costs.learn('meadow', 0.25, i % 2 === 0 ? 50 : 150);
  const expected = costs.expect('meadow', 0.25);
  assert.ok(expected > 120 && expected < 200, `${expected}`);
});

test('names without end fill no memory, and every expectation is a positive number', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.string(),
          fc.double({ min: 0, max: 20, noNaN: true }),
          fc.double({ min: 0, max: 1e5, noNaN: true }),
        ),
      ),
      fc.double({ min: 0, max: 20, noNaN: true }),
      (pictures, megapixels) => {
        const costs = new Costs();
        for (const [style, mp, ms] of pictures) costs.learn(style, mp, ms);
        const expected = costs.expect('meadow', megapixels);
        assert.ok(Number.isFinite(expected) && expected >= 0);
      },
    ),
  );
});

const SIZES = [
  {
    name: 'a large photo is drawn at the size of its answer',
    width: 4000,
    height: 3000,
    maxSide: 512,
    mp: 0.196608,
  },
  { name: 'a small picture is never enlarged', width: 100, height: 50, maxSide: 512, mp: 0.005 },
];
for (const { name, width, height, maxSide, mp } of SIZES)
  test(name, () => assert.ok(Math.abs(workMegapixels({ width, height }, maxSide) - mp) < 1e-9));
test('of a header without a size the largest is assumed', () => assert.equal(workMegapixels({}, 1000), 1));
