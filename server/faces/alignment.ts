// Where a face model expects eyes, nose and mouth, and the way from a photo's face to there. Pure.

import type { Landmarks } from './detection.ts';
import { fitSimilarity, type Point, type Similarity } from './similarity.ts';

/** Five places in a square crop, as shares of its side. */
export type Template = readonly (readonly [x: number, y: number])[];

/**
 * The faces of FFHQ as most face models saw them: eyes a quarter of the crop apart, the chin above its lower edge.
 */
const FFHQ: Template = [
  [0.3769, 0.4686],
  [0.623, 0.4691],
  [0.5012, 0.6133],
  [0.3931, 0.7254],
  [0.6115, 0.7249],
];

/** The points that DCT-Net aligns to: those of its five-point template, in px of 96×112. */
const DCT_POINTS = [
  [30.29459953, 51.69630051],
  [65.53179932, 51.50139999],
  [48.02519989, 71.73660278],
  [33.54930115, 92.3655014],
  [62.72990036, 92.20410156],
] as const;

/** DCT-Net moves these points by one px, centres 96×112 in a square of 112, and draws them in to three quarters. */
function dctTemplate(): Template {
  const [moved, square, share] = [1, 112, 0.75];
  const inward = (px: number) => ((px - square / 2) * share + square / 2) / square;
  return DCT_POINTS.map(([x, y]) => [inward(x + moved + (square - 96) / 2), inward(y + moved)]);
}

/** The templates that a manifest may name. */
export const TEMPLATES = { ffhq: FFHQ, 'dct-net': dctTemplate() } as const satisfies Record<string, Template>;

/**
 * From the photo to the crop.
 * @param side The crop's, px.
 */
export function alignment(landmarks: Landmarks, template: Template, side: number): Similarity {
  const wanted: Point[] = template.map(([x, y]) => ({ x: x * side, y: y * side }));
  return fitSimilarity(landmarks, wanted);
}
