import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { anchorsOf } from './anchors.ts';
import {
  area,
  type Box,
  type Face,
  type Landmarks,
  type Reading,
  readFaces,
  scaledFaces,
  shared,
  withoutTwins,
} from './detection.ts';

// Not square, so that width and height cannot stand for each other.
const SIZE = { width: 128, height: 64 };
const anchors = anchorsOf(SIZE.width, SIZE.height, [{ stride: 32, sizes: [32] }]);
const reading: Reading = { variances: [0.1, 0.2], softmax: false, score: 0.5, overlap: 0.4 };
const MARKS: Landmarks = [
  { x: 20, y: 20 },
  { x: 30, y: 20 },
  { x: 25, y: 26 },
  { x: 21, y: 32 },
  { x: 29, y: 32 },
];

/** A detector's numbers that say nothing, but for one face at one anchor, written as such a detector would write it. */
function rawWith(at: number, box: Box, marks: Landmarks, score: number) {
  const raw = { boxes: new Float32Array(32), scores: new Float32Array(16), landmarks: new Float32Array(80) };
  const [x = 0, y = 0, w = 0, h = 0] = anchors.subarray(4 * at, 4 * at + 4);
  const [width, height] = [(box.right - box.left) / 128, (box.bottom - box.top) / 64];
  raw.boxes.set(
    [
      ((box.left + box.right) / 256 - x) / (0.1 * w),
      ((box.top + box.bottom) / 128 - y) / (0.1 * h),
      Math.log(width / w) / 0.2,
      Math.log(height / h) / 0.2,
    ],
    4 * at,
  );
  raw.scores.set([1 - score, score], 2 * at);
  raw.landmarks.set(
    marks.flatMap((p) => [((p.x + 0.5) / 128 - x) / (0.1 * w), ((p.y + 0.5) / 64 - y) / (0.1 * h)]),
    10 * at,
  );
  return raw;
}

const close = (found: number, expected: number) =>
  assert.ok(Math.abs(found - expected) < 1e-3, `${found} and not ${expected}`);

for (const at of [0, 1, 3, 4, 7]) {
  test(`what is written relative to anchor ${at} is read where it was`, () => {
    const box = { left: 10, top: 12, right: 40, bottom: 50 };
    const [face, ...more] = readFaces(rawWith(at, box, MARKS, 0.9), anchors, SIZE, reading);
    assert.equal(more.length, 0);
    assert.ok(face);
    for (const edge of ['left', 'top', 'right', 'bottom'] as const) close(face.box[edge], box[edge]);
    face.landmarks.forEach(({ x, y }, index) => {
      close(x, MARKS[index]?.x ?? Number.NaN);
      close(y, MARKS[index]?.y ?? Number.NaN);
    });
    close(face.score, 0.9);
  });
}

test('a face below the least likelihood is none, and scores may be logits', () => {
  const box = { left: 10, top: 12, right: 40, bottom: 50 };
  assert.equal(readFaces(rawWith(0, box, MARKS, 0.49), anchors, SIZE, reading).length, 0);
  const logits = rawWith(0, box, MARKS, 0.5);
  // 0.5 against 0.5 as logits is as likely as not; the other anchors too, at 0 against 0.
  assert.equal(readFaces(logits, anchors, SIZE, { ...reading, softmax: true, score: 0.51 }).length, 0);
  logits.scores.set([0, 2], 0);
  const [face] = readFaces(logits, anchors, SIZE, { ...reading, softmax: true, score: 0.51 });
  close(face?.score ?? 0, 1 / (1 + Math.exp(-2)));
});

test('numbers that are none, and eyes in one place, are no face', () => {
  const box = { left: 10, top: 12, right: 40, bottom: 50 };
  const broken = rawWith(0, box, MARKS, 0.9);
  broken.boxes[2] = Number.NaN;
  assert.deepEqual(readFaces(broken, anchors, SIZE, reading), []);
  const huge = rawWith(0, box, MARKS, 0.9);
  huge.boxes[2] = 1e6;
  assert.deepEqual(readFaces(huge, anchors, SIZE, reading), []);
  const [p] = MARKS;
  assert.deepEqual(readFaces(rawWith(0, box, [p, p, p, p, p], 0.9), anchors, SIZE, reading), []);
});

const box: fc.Arbitrary<Box> = fc
  .tuple(fc.nat(100), fc.nat(100), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 }))
  .map(([left, top, w, h]) => ({ left, top, right: left + w, bottom: top + h }));
const crowd = fc
  .array(fc.tuple(box, fc.double({ min: 0, max: 1, noNaN: true })), { maxLength: 40 })
  .map((all) =>
    all
      .map(([each, score]): Face => ({ box: each, landmarks: MARKS, score }))
      .sort((one, other) => other.score - one.score),
  );

test('of faces that lie on each other the surest stays, and none that stays lies on another', () => {
  fc.assert(
    fc.property(crowd, fc.double({ min: 0.05, max: 0.95, noNaN: true }), (faces, overlap) => {
      const kept = withoutTwins(faces, overlap);
      if (faces.length > 0) assert.equal(kept[0], faces[0]);
      for (const [index, face] of kept.entries())
        for (const other of kept.slice(index + 1)) assert.ok(shared(face.box, other.box) <= overlap);
      for (const gone of faces.filter((face) => !kept.includes(face)))
        assert.ok(kept.some((face) => face.score >= gone.score && shared(face.box, gone.box) > overlap));
    }),
  );
});

test('what two boxes share is between nothing and all, and the same both ways', () => {
  fc.assert(
    fc.property(box, box, (one, other) => {
      const both = shared(one, other);
      assert.ok(both >= 0 && both <= 1);
      assert.equal(both, shared(other, one));
      close(shared(one, one), 1);
      assert.ok(area(one) > 0);
    }),
  );
});

test('a picture of twice the size has faces of twice the size, counted from the middle of the first pixel', () => {
  const face: Face = { box: { left: 2, top: 4, right: 6, bottom: 8 }, landmarks: MARKS, score: 1 };
  const [large] = scaledFaces([face], 2, 4);
  assert.deepEqual(large?.box, { left: 4, top: 16, right: 12, bottom: 32 });
  // Pixel 20 covers 20 to 21, which becomes 40 to 42: pixels 40 and 41, between whose middles lies 40.5.
  assert.deepEqual(large?.landmarks[0], { x: 40.5, y: 81.5 });
});
