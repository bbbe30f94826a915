// Several neighbouring pixels of a row as one with as many times the channels, which in memory they are already. ONNX
// Runtime's integer convolution keeps a pointer for each place of the kernel and each pixel, and reads a few bytes at it: for
// 7×7 places and three channels that takes five times as long as the products, and for 512×512 pixels 103 MB. Pure.

import type { OnnxTensor } from '../../onnx/model-file.ts';

/** How wide pictures are: always a multiple of `multiple`, and at least `least`, in px. */
export interface Widths {
  readonly multiple: number;
  readonly least: number;
}

/** So many pixels of a row a convolution makes at once. */
export type AtOnce = 1 | 2 | 4;

/** Kernels of ONNX Runtime work on blocks of so many output channels; fewer are much slower. */
const OUTPUT_BLOCK = 16;
/** Input channels are taken four by four. */
const INPUT_BLOCK = 4;
/** Reading one place of the kernel costs as much as so many products (7×7 and 3×3, 3 to 64 channels, AVX-512 VNNI). */
const PLACE_COST = 1000;

/** `channels` and what a kernel computes beside them. */
export function inBlocks(channels: number): number {
  return upTo(channels, OUTPUT_BLOCK);
}

/**
 * How many pixels a convolution of stride one should make at once.
 * @param dims Of the weights: outputs, inputs, rows, columns.
 * @param widths Of what it makes, in every picture.
 */
export function pixelsAtOnce(dims: readonly number[], { multiple, least }: Widths): AtOnce {
  const [, , , wide = 1] = dims;
  const allowed = ([2, 4] as const).filter(
    // The columns beyond come by reflection too, which takes as many within.
    (pixels) => multiple % pixels === 0 && least > wide + columnsBeyond(wide, pixels),
  );
  const [best] = ([1, ...allowed] as AtOnce[]).sort((one, other) => cost(dims, one) - cost(dims, other));
  return best ?? 1;
}

/** What each pixel costs, in products. */
function cost([out = 1, into = 1, high = 1, wide = 1]: readonly number[], pixels: number): number {
  const places = high * groupsMet(wide, pixels);
  const products = places * upTo(pixels * into, INPUT_BLOCK) * upTo(pixels * out, OUTPUT_BLOCK);
  return (products + places * PLACE_COST) / pixels;
}

/** So many columns a padded row has to have more, whose values do not count. */
export function columnsBeyond(wide: number, pixels: number): number {
  return upTo(wide - 1, pixels) - (wide - 1);
}

/** The weights [outputs, inputs, rows, columns] for groups of pixels: [pixels · outputs, pixels · inputs, rows, groups]. */
export function weightsForRows({ dims, values }: OnnxTensor, pixels: number): OnnxTensor {
  const [out = 1, into = 1, high = 1, wide = 1] = dims;
  const groups = groupsMet(wide, pixels);
  const made = new Int8Array(pixels * out * pixels * into * high * groups);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let column = 0; column < wide; column++) {
      const [group, within] = [Math.floor((pixel + column) / pixels), (pixel + column) % pixels];
      for (let o = 0; o < out; o++) {
        for (let i = 0; i < into; i++) {
          const [from, to] = [o * into + i, (pixel * out + o) * pixels * into + within * into + i];
          for (let row = 0; row < high; row++)
            made[(to * high + row) * groups + group] = values[(from * high + row) * wide + column] ?? 0;
        }
      }
    }
  }
  return { type: 'int8', dims: [pixels * out, pixels * into, high, groups], values: made };
}

/** Groups of pixels that a kernel of so many columns meets. */
function groupsMet(wide: number, pixels: number): number {
  return Math.ceil((wide - 1) / pixels) + 1;
}

function upTo(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
