// How much of a drawn face is seen at each place of its crop: all in the middle, nothing at the border. Pure.

/** One byte a pixel of a square crop, row by row: 255 is the drawn face, 0 the background. */
export type Mask = Uint8Array;

/**
 * A disc that fades out towards the crop's border.
 * @param side The crop's, px.
 * @param feather The share of the disc's radius over which it fades.
 */
export function featheredMask(side: number, feather: number): Mask {
  const mask = new Uint8Array(side * side);
  const middle = (side - 1) / 2;
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at++) {
      const out = Math.hypot(x - middle, y - middle) / middle;
      mask[at] = Math.round(255 * smooth((1 - out) / feather));
    }
  }
  return mask;
}

/** From 0 to 1 without a corner at either end, so that no edge is seen. */
function smooth(t: number): number {
  const inside = Math.min(1, Math.max(0, t));
  return inside * inside * (3 - 2 * inside);
}
