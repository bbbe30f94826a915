// How far the values of one picture reach, worked out at run time from a thinned-out copy of them. Pure.

import type { Builder } from '../builder.ts';
import type { Affine } from './affine.ts';
import { LEAST_RANGE, type Observed, ranged } from './observation.ts';

/** Statistics are taken from about this many rows and columns. */
const STATISTICS_SIDE = 64;
/** At most every so many-th row and column is left, or too many peaks of a large picture are missed. */
const THINNEST = 4;
/** How much wider a picture's own range is than a copy shows of which so many rows and columns are left out. */
const unseen = (thin: number) => 1.1 + 0.05 * thin;
/** How many times the furthest calibrated range a picture's own may be; its few peaks beyond it are cut. */
const MOST_RANGE = 3;

/** Of so many rows and columns one is looked at for statistics. */
export function thinningOf({ dims: [, height, width] }: Observed, thinnest = THINNEST): number {
  return Math.min(thinnest, Math.max(1, Math.floor(Math.min(height, width) / STATISTICS_SIDE)));
}

/** A thinned-out copy of a value. */
export function thinned(
  built: Builder,
  name: string,
  { axes, seen }: { readonly axes: readonly [rows: number, columns: number]; readonly seen: Observed },
): string {
  const thin = thinningOf(seen);
  const at = [[0, 0], [1e9, 1e9], axes, [thin, thin]].map((numbers) => built.ints(numbers));
  return built.node('Slice', [name, ...at]);
}

/** What is known of a value whose range follows the picture. */
export interface RangedBy {
  /** What calibration saw. */
  readonly seen: Observed;
  readonly opset: number;
}

/** The gain that fits a picture's own range to the levels that calibration chose, from a thinned-out copy. */
export function gainFrom(built: Builder, values: string, { seen, opset }: RangedBy): string {
  const endOf = (op: 'ReduceMax' | 'ReduceMin') => built.reduce(op, values, [0, 1, 2, 3], opset);
  const [high, low] = [endOf('ReduceMax'), endOf('ReduceMin')];
  return gainFor(built, [low, high], seen);
}

/** An affine over `gain`, which the value has to be multiplied by. */
export type RangedAffine = Affine & { readonly gain?: string };

/**
 * Fits a picture's own range to the levels that calibration chose. A norm makes the few strong edges of a plain picture
 * many times as large as those of a busy one: levels for both would leave the busy one a handful.
 * @param before A copy of what the norm works on, as bytes around 128, and each channel's step.
 */
export function withOwnRange(
  built: Builder,
  { factor, shift }: Affine,
  before: { readonly bytes: string; readonly steps: readonly number[] },
  { seen, opset }: RangedBy,
): RangedAffine {
  const endOf = (op: 'ReduceMax' | 'ReduceMin') => {
    const byte = built.reduce(op, before.bytes, [0, 1, 2], opset);
    const off = built.node('Sub', [built.node('Cast', [byte], { to: { int: 1 } }), built.float(128)]);
    const value = built.node('Mul', [off, built.float(before.steps)]);
    return built.node('Add', [built.node('Mul', [value, factor]), shift]);
  };
  // A negative factor turns the ends of a channel round.
  const ends = [endOf('ReduceMax'), endOf('ReduceMin')];
  const high = built.reduce('ReduceMax', built.node('Max', ends), [0], opset);
  const low = built.reduce('ReduceMin', built.node('Min', ends), [0], opset);
  const gain = gainFor(built, [low, high], seen);
  return { factor: built.node('Div', [factor, gain]), shift: built.node('Div', [shift, gain]), gain };
}

/** How many times as far a value reaches in this picture as in those that calibration saw. */
function gainFor(built: Builder, [low, high]: readonly [low: string, high: string], seen: Observed): string {
  const wider = unseen(thinningOf(seen));
  const [least, most] = ranged(seen).ends;
  const shares = [
    ...(most > 0 ? [built.node('Mul', [high, built.float(wider / most)])] : []),
    ...(least < 0 ? [built.node('Mul', [low, built.float(wider / least)])] : []),
  ];
  return built.node('Min', [
    built.node('Max', [...shares, built.float(LEAST_RANGE)]),
    built.float(MOST_RANGE),
  ]);
}
