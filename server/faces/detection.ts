// From a detector's numbers to faces: the likely anchors, their boxes and landmarks, and of boxes that mean the same
// face the best one. Pure. Knows no session and no picture.

import type { Anchors } from './anchors.ts';
import type { Point } from './similarity.ts';

/** Eyes, nose, corners of the mouth; left is left in the picture. */
export type Landmarks = readonly [Point, Point, Point, Point, Point];

/** A box, px. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** A face that was found. */
export interface Face {
  readonly box: Box;
  readonly landmarks: Landmarks;
  /** How sure the detector is, 0 to 1. */
  readonly score: number;
}

/** A detector's outputs: so many numbers an anchor. */
export interface RawFaces {
  /** Four: the middle's distance from the anchor's, and the logarithms of the sides. */
  readonly boxes: Float32Array;
  /** Two: for no face and for a face. */
  readonly scores: Float32Array;
  /** Ten: five points' distances from the anchor's middle. */
  readonly landmarks: Float32Array;
}

/** How the numbers are to be read. */
export interface Reading {
  /** What distances and logarithms of sides are multiplied by. */
  readonly variances: readonly [distance: number, side: number];
  /** True where the scores are still to be made likelihoods. */
  readonly softmax: boolean;
  /** The least likelihood of a face. */
  readonly score: number;
  /** Boxes that share more than this, intersection over union, mean the same face. */
  readonly overlap: number;
}

/** More candidates than these are noise: sorting out costs their square. */
const MOST_CANDIDATES = 2000;

/**
 * The faces of a picture, the surest first.
 * @param width The picture that the detector saw, px; so is `height`.
 */
export function readFaces(
  raw: RawFaces,
  anchors: Anchors,
  { width, height }: { readonly width: number; readonly height: number },
  reading: Reading,
): Face[] {
  const likely: { index: number; score: number }[] = [];
  for (let index = 0; index < anchors.length / 4; index++) {
    const score = likelihood(raw.scores, index, reading.softmax);
    if (score >= reading.score) likely.push({ index, score });
  }
  likely.sort((one, other) => other.score - one.score);
  const candidates = likely
    .slice(0, MOST_CANDIDATES)
    .map(({ index, score }) => faceAt(raw, anchors, index, score, reading.variances, width, height));
  return withoutTwins(candidates.filter(isPossible), reading.overlap);
}

/** Of faces that lie on each other only the first; the surest stand first. */
export function withoutTwins(faces: readonly Face[], overlap: number): Face[] {
  const kept: Face[] = [];
  for (const face of faces) {
    if (kept.every((other) => shared(face.box, other.box) <= overlap)) kept.push(face);
  }
  return kept;
}

/** What two boxes share of what they cover together, 0 to 1. */
export function shared(one: Box, other: Box): number {
  const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (area(one) + area(other) - both);
}

/** A box's area, px². */
export function area({ left, top, right, bottom }: Box): number {
  return Math.max(0, right - left) * Math.max(0, bottom - top);
}

/** The faces as a picture shows them that is so many times as large. */
export function scaledFaces(faces: readonly Face[], x: number, y: number): Face[] {
  return faces.map(({ box, landmarks, score }) => ({
    box: { left: box.left * x, top: box.top * y, right: box.right * x, bottom: box.bottom * y },
    // Points count from the middle of the first pixel, and that moves too.
    landmarks: landmarks.map((point) => ({
      x: (point.x + 0.5) * x - 0.5,
      y: (point.y + 0.5) * y - 0.5,
    })) as unknown as Landmarks,
    score,
  }));
}

function likelihood(scores: Float32Array, index: number, softmax: boolean): number {
  const [none, face] = [scores[2 * index] ?? Number.NaN, scores[2 * index + 1] ?? Number.NaN];
  return softmax ? 1 / (1 + Math.exp(none - face)) : face;
}

function faceAt(
  { boxes, landmarks }: RawFaces,
  anchors: Anchors,
  index: number,
  score: number,
  [distance, side]: Reading['variances'],
  width: number,
  height: number,
): Face {
  const at = 4 * index;
  const [x = 0, y = 0, w = 0, h = 0] = anchors.subarray(at, at + 4);
  const [dx = 0, dy = 0, dw = 0, dh = 0] = boxes.subarray(at, at + 4);
  const [middleX, middleY] = [(x + dx * distance * w) * width, (y + dy * distance * h) * height];
  const [halfX, halfY] = [(w * Math.exp(dw * side) * width) / 2, (h * Math.exp(dh * side) * height) / 2];
  const point = (nth: number): Point => ({
    x: (x + (landmarks[10 * index + 2 * nth] ?? 0) * distance * w) * width - 0.5,
    y: (y + (landmarks[10 * index + 2 * nth + 1] ?? 0) * distance * h) * height - 0.5,
  });
  return {
    box: {
      left: middleX - halfX,
      top: middleY - halfY,
      right: middleX + halfX,
      bottom: middleY + halfY,
    },
    landmarks: [point(0), point(1), point(2), point(3), point(4)],
    score,
  };
}

/** Numbers that are none, and points that fall into one, come from a detector that is lost; no face is drawn from them. */
function isPossible({ box, landmarks }: Face): boolean {
  const numbers = [box.left, box.top, box.right, box.bottom, ...landmarks.flatMap(({ x, y }) => [x, y])];
  const [one, other] = landmarks;
  return (
    numbers.every(Number.isFinite) && area(box) > 0 && Math.hypot(one.x - other.x, one.y - other.y) > 1e-3
  );
}
