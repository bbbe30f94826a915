import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fitSimilarity, inverse, moved, type Point, type Similarity, scaleOf } from './similarity.ts';

const coordinate = fc.double({ min: -2000, max: 2000, noNaN: true });
const point: fc.Arbitrary<Point> = fc.record({ x: coordinate, y: coordinate });
const similarity: fc.Arbitrary<Similarity> = fc
  .tuple(fc.double({ min: 0.05, max: 20, noNaN: true }), fc.double({ min: 0, max: 7, noNaN: true }), point)
  .map(([scale, angle, { x, y }]) => ({ a: scale * Math.cos(angle), b: scale * Math.sin(angle), x, y }));
/** Five points that lie apart. */
const points = fc
  .array(point, { minLength: 5, maxLength: 5 })
  .filter((all) => all.some((p) => Math.hypot(p.x - (all[0]?.x ?? 0), p.y - (all[0]?.y ?? 0)) > 10));

const apart = (p: Point, q: Point) => Math.hypot(p.x - q.x, p.y - q.y);

test('points that were moved by a similarity give it back', () => {
  fc.assert(
    fc.property(points, similarity, (from, by) => {
      const found = fitSimilarity(
        from,
        from.map((each) => moved(each, by)),
      );
      for (const each of from) assert.ok(apart(moved(each, found), moved(each, by)) < 1e-6);
    }),
  );
});

/** Twice the area of where a small corner goes; negative when it was mirrored. */
function cornerOf(by: Similarity): number {
  const [o, p, q] = [moved({ x: 0, y: 0 }, by), moved({ x: 1, y: 0 }, by), moved({ x: 0, y: 1 }, by)];
  return (p.x - o.x) * (q.y - o.y) - (p.y - o.y) * (q.x - o.x);
}

test('whatever the points, left of a line stays left of it, even for a face seen in a mirror', () => {
  fc.assert(fc.property(points, points, (from, to) => assert.ok(cornerOf(fitSimilarity(from, to)) >= 0)));
  fc.assert(
    fc.property(points, (face) => {
      const mirrored = face.map(({ x, y }) => ({ x: -x, y }));
      assert.ok(cornerOf(fitSimilarity(face, mirrored)) >= 0);
    }),
  );
});

test('a fit is the best one: moving it a little never brings the points nearer', () => {
  const cost = (from: readonly Point[], to: readonly Point[], by: Similarity) =>
    from.reduce((sum, each, index) => sum + apart(moved(each, by), to[index] ?? each) ** 2, 0);
  fc.assert(
    fc.property(points, points, fc.constantFrom('a', 'b', 'x', 'y'), (from, to, key) => {
      const best = fitSimilarity(from, to);
      const step = key === 'x' || key === 'y' ? 1 : 0.01;
      for (const off of [-step, step])
        assert.ok(cost(from, to, { ...best, [key]: best[key] + off }) >= cost(from, to, best) - 1e-6);
    }),
  );
});

test('the way back leads back', () => {
  fc.assert(
    fc.property(point, similarity, (p, by) => {
      assert.ok(apart(moved(moved(p, by), inverse(by)), p) < 1e-6);
      assert.ok(Math.abs(scaleOf(by) * scaleOf(inverse(by)) - 1) < 1e-9);
    }),
  );
});

test('points that fall into one have no similarity', () => {
  const same = Array<Point>(5).fill({ x: 3, y: 4 });
  assert.throws(() => fitSimilarity(same, same), RangeError);
  assert.throws(() => fitSimilarity([{ x: 1, y: 1 }], [{ x: 1, y: 1 }]), RangeError);
});
