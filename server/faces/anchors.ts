// The boxes that a detector of the RetinaFace kind measures faces from: so many sizes at every place of every grid. Pure.

/** A grid of anchors: one place every `stride` px, and at each place a square of every size, px. */
export interface AnchorGrid {
  readonly stride: number;
  readonly sizes: readonly number[];
}

/** Four numbers an anchor: the middle and the sides, as shares of the picture's width and height. */
export type Anchors = Float32Array;

/** How many anchors a picture has. */
export function anchorCount(width: number, height: number, grids: readonly AnchorGrid[]): number {
  return grids.reduce(
    (sum, { stride, sizes }) => sum + Math.ceil(width / stride) * Math.ceil(height / stride) * sizes.length,
    0,
  );
}

/** The anchors of a picture, in the order of the detector's outputs: grid by grid, row by row, size by size. */
export function anchorsOf(width: number, height: number, grids: readonly AnchorGrid[]): Anchors {
  const anchors = new Float32Array(4 * anchorCount(width, height, grids));
  let at = 0;
  for (const { stride, sizes } of grids) {
    for (let row = 0; row < Math.ceil(height / stride); row++) {
      for (let column = 0; column < Math.ceil(width / stride); column++) {
        for (const size of sizes) {
          anchors[at++] = ((column + 0.5) * stride) / width;
          anchors[at++] = ((row + 0.5) * stride) / height;
          anchors[at++] = size / width;
          anchors[at++] = size / height;
        }
      }
    }
  }
  return anchors;
}
