// Which faces are drawn by themselves, and in which order: the largest, not more than so many, none too small. Pure.

import { area, type Box, type Face } from './detection.ts';

/** The bounds of a composite. */
export interface FaceBounds {
  /** The most faces of one picture. */
  readonly most: number;
  /** A face's shorter side, px of the picture as it is drawn; a smaller one is left to the background. */
  readonly smallest: number;
}

/**
 * The faces that are drawn: the largest ones, and of these the smallest first, so that a face in front lies over one
 * behind it.
 */
export function chooseFaces(
  faces: readonly Face[],
  { width, height }: { readonly width: number; readonly height: number },
  { most, smallest }: FaceBounds,
): Face[] {
  return faces
    .filter(({ box }) => shorterSide(box) >= smallest && isInside(box, width, height))
    .sort((one, other) => area(other.box) - area(one.box))
    .slice(0, most)
    .reverse();
}

const shorterSide = ({ left, top, right, bottom }: Box) => Math.min(right - left, bottom - top);

/** A face whose middle lies beyond the edge has nothing to show. */
function isInside({ left, top, right, bottom }: Box, width: number, height: number): boolean {
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return x >= 0 && y >= 0 && x <= width && y <= height;
}
