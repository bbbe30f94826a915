// Which convolutions make several pixels at once, and what they are made of.

import assert from 'node:assert/strict';
import test from 'node:test';
import { columnsBeyond, pixelsAtOnce, weightsForRows } from './pixel-rows.ts';

const any = { multiple: 32, least: 32 };

for (const { what, dims, widths = any, pixels } of [
  { what: '7×7 on the three colours', dims: [32, 3, 7, 7], pixels: 4 },
  { what: '7×7 that gives the three colours', dims: [3, 32, 7, 7], pixels: 4 },
  { what: '7×7 between many channels', dims: [32, 64, 7, 7], pixels: 2 },
  { what: '3×3 on the three colours', dims: [32, 3, 3, 3], pixels: 4 },
  { what: '3×3 between 16 channels', dims: [16, 16, 3, 3], pixels: 2 },
  { what: '3×3 between 64 channels', dims: [64, 64, 3, 3], pixels: 1 },
  { what: '1×1', dims: [256, 128, 1, 1], pixels: 1 },
  { what: 'widths that are even only', dims: [32, 3, 7, 7], widths: { multiple: 2, least: 32 }, pixels: 2 },
  { what: 'any width', dims: [32, 3, 7, 7], widths: { multiple: 1, least: 32 }, pixels: 1 },
  {
    what: 'half of an odd width',
    dims: [32, 3, 7, 7],
    widths: { multiple: 0.5, least: 16 },
    pixels: 1,
  },
  {
    what: 'too narrow to reflect two columns more',
    dims: [32, 3, 7, 7],
    widths: { multiple: 8, least: 8 },
    pixels: 2,
  },
]) {
  test(`${what}: ${pixels} ${pixels === 1 ? 'pixel' : 'pixels'} at once`, () => {
    assert.equal(pixelsAtOnce(dims, widths), pixels);
  });
}

test('rows are padded until they are groups of pixels', () => {
  assert.deepEqual(
    [1, 2, 3, 5, 7].map((wide) => [columnsBeyond(wide, 2), columnsBeyond(wide, 4)]),
    [
      [0, 0],
      [1, 3],
      [0, 2],
      [0, 0],
      [0, 2],
    ],
  );
});

test('each pixel of a group has the whole kernel, one column further than the pixel before, and nothing else', () => {
  const weights = { type: 'int8', dims: [1, 1, 1, 3], values: Int8Array.of(1, 2, 3) } as const;
  const { dims, values } = weightsForRows(weights, 2);
  assert.deepEqual(dims, [2, 2, 1, 2]);
  // [pixel][channel of a group][group]: the columns 0 and 2, then 1 and 3.
  assert.deepEqual([...values], [1, 3, 2, 0, 0, 2, 1, 3]);
});
