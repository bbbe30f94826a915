// Which values a network takes for black and for full light, judged by what it drew from one photo under each candidate: a
// toon of a photo has the photo's lights and shadows in the photo's places, and the wrong range darkens, bleaches or burns
// them. Knows no ONNX Runtime. Pure.

import { blockMeans } from '../golden.ts';

/** The values of black and of full light. */
export type ValueRange = readonly [black: number, white: number];

/** The ranges that published generators have. */
export const CANDIDATES: readonly ValueRange[] = [
  [-1, 1],
  [0, 1],
  [0, 255],
];

/** A photo as RGB bytes, row by row. */
export interface Photo {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** What a network gave for the photo under one candidate: its own values, as RGB, row by row. */
export interface Attempt {
  readonly input: ValueRange;
  readonly values: Float32Array | Uint8Array;
}

/** A way of reading a network. */
export interface Reading {
  readonly input: ValueRange;
  readonly output: ValueRange;
  /** How far the drawing is from the photo's lights and colours: 0 is the photo itself, 1 is another picture. */
  readonly distance: number;
}

/** What the attempts say. */
export type RangeVerdict =
  | { readonly kind: 'sure'; readonly reading: Reading; readonly next: Reading }
  | { readonly kind: 'unsure'; readonly readings: readonly Reading[]; readonly why: string };

const GRID = 16;
/** A drawing farther away than this is no toon of the photo under any range. */
const FARTHEST = 0.35;
/** How much nearer the best reading has to be than the next one with other ranges. */
const LEAST_MARGIN = 0.08;
/** Beyond these a value is not that of an activation that ends at ±1. */
const BOUND = 1.001;
const SURELY_NEGATIVE = -0.1;

/** Judges a photo's drawings, one for each candidate that the network could be run with. */
export function judgeRanges(photo: Photo, attempts: readonly Attempt[]): RangeVerdict {
  const outputs = possibleOutputs(attempts);
  const right = blockMeans(photo.data, photo, GRID);
  const readings = attempts
    .flatMap(({ input, values }) =>
      outputs.map((output): Reading => ({ input, output, distance: distance(right, values, output, photo) })),
    )
    .filter((reading) => Number.isFinite(reading.distance))
    .sort((one, other) => one.distance - other.distance);
  const [best, next] = readings;
  if (!best) return { kind: 'unsure', readings, why: 'it gave no numbers that a picture could have' };
  if (best.distance > FARTHEST)
    return { kind: 'unsure', readings, why: 'under no range does its drawing look like the photo' };
  if (!next || next.distance - best.distance >= LEAST_MARGIN)
    return { kind: 'sure', reading: best, next: next ?? best };
  return {
    kind: 'unsure',
    readings,
    why: `it draws about as well with ${words(best)} as with ${words(next)}`,
  };
}

/** A reading for people. */
export function words({ input, output }: Pick<Reading, 'input' | 'output'>): string {
  const same = input[0] === output[0] && input[1] === output[1];
  return same ? `${input.join(' to ')}` : `${input.join(' to ')} in and ${output.join(' to ')} out`;
}

/**
 * What the output's values can mean. When nothing that was put in drives a value beyond ±1, the network ends in an
 * activation: one that goes below zero is a tanh, one that does not is a sigmoid. Bytes are bytes.
 */
function possibleOutputs(attempts: readonly Attempt[]): readonly ValueRange[] {
  if (attempts.some(({ values }) => values instanceof Uint8Array)) return [[0, 255]];
  let [lowest, highest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { values } of attempts) {
    for (const value of values) {
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
  }
  if (lowest < -BOUND || highest > BOUND) return CANDIDATES;
  return lowest < SURELY_NEGATIVE ? [[-1, 1]] : [[0, 1]];
}

/** How far apart lights and contrasts are; NaN for values that are no numbers. */
function distance(
  right: Float64Array,
  values: Float32Array | Uint8Array,
  [black, white]: ValueRange,
  photo: Photo,
): number {
  const pixels = Float32Array.from(values, (value) => ((value - black) / (white - black)) * 255);
  const drawn = blockMeans(
    pixels.map((value) => Math.min(255, Math.max(0, value))),
    photo,
    GRID,
  );
  let off = 0;
  for (let at = 0; at < right.length; at++) off += Math.abs((right[at] ?? 0) - (drawn[at] ?? 0));
  const apart = off / right.length / 255;
  return apart + (1 - correlation(right, drawn)) / 2;
}

/** Of Pearson; 0 when one of them is flat. */
function correlation(one: Float64Array, other: Float64Array): number {
  const mean = (of: Float64Array) => of.reduce((sum, value) => sum + value, 0) / of.length;
  const [a, b] = [mean(one), mean(other)];
  let [products, squaresA, squaresB] = [0, 0, 0];
  for (let at = 0; at < one.length; at++) {
    const [p, q] = [(one[at] ?? 0) - a, (other[at] ?? 0) - b];
    products += p * q;
    squaresA += p * p;
    squaresB += q * q;
  }
  const both = Math.sqrt(squaresA * squaresB);
  // A flat drawing differs in its last digits only.
  return squaresB < one.length * 1e-3 || !(both > 0)
    ? Number.isNaN(both)
      ? Number.NaN
      : 0
    : products / both;
}
