import assert from 'node:assert/strict';
import test from 'node:test';
import { type AnchorGrid, anchorCount, anchorsOf } from './anchors.ts';

const RETINAFACE: AnchorGrid[] = [
  { stride: 8, sizes: [16, 32] },
  { stride: 16, sizes: [64, 128] },
  { stride: 32, sizes: [256, 512] },
];

for (const [width, height, count] of [
  [640, 640, 16_800],
  [320, 320, 4200],
  [640, 480, 12_600],
  // Sides that are no multiples: a grid's last place stands over the edge.
  [33, 17, 2 * (5 * 3 + 3 * 2 + 2 * 1)],
] as const) {
  test(`${width}×${height} has ${count} anchors`, () => {
    assert.equal(anchorCount(width, height, RETINAFACE), count);
    assert.equal(anchorsOf(width, height, RETINAFACE).length, 4 * count);
  });
}

test('anchors come row by row, and at each place size by size', () => {
  const anchors = anchorsOf(64, 32, [{ stride: 32, sizes: [16, 32] }]);
  assert.deepEqual(
    [...anchors],
    [
      [0.25, 0.5, 16 / 64, 16 / 32],
      [0.25, 0.5, 32 / 64, 32 / 32],
      [0.75, 0.5, 16 / 64, 16 / 32],
      [0.75, 0.5, 32 / 64, 32 / 32],
    ].flat(),
  );
});
