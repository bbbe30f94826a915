// Numbers as bytes: which range of values the 256 levels stand for, and weights as signed bytes, one scale a channel. Pure.

import type { OnnxTensor } from '../../onnx/model-file.ts';

/** How a byte stands for a number: number = scale · (byte − zero). */
export interface Levels {
  readonly scale: number;
  readonly zero: number;
}

/** What is done to a value after it was rounded to a byte; errors count behind it. */
export type Curve = (value: number) => number;

/** Parts of the largest value that are tried as the end of the range: a few rare values may be cut for finer steps. */
const CUTS = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];
/** Where the range follows the picture, the peaks of a plain one may be most of what there is to see. */
export const MILD_CUTS = [1, 0.9, 0.8, 0.7];

/**
 * The levels with the least mean square error behind the curve.
 * @param samples Values as they occur.
 */
export function chooseLevels(
  samples: Float32Array,
  curve: Curve = (value) => value,
  cuts: readonly number[] = CUTS,
): Levels {
  const [low, high] = endsOf(samples);
  const counted = countedIn(samples, [low, high]);
  const wanted = counted.values.map(curve);
  let best: Levels = levelsOf(low, high);
  let least = Number.POSITIVE_INFINITY;
  for (const cutLow of cuts) {
    for (const cutHigh of cuts) {
      const levels = levelsOf(low * cutLow, high * cutHigh);
      const error = squareError(counted, wanted, levels, curve);
      if (error < least) [best, least] = [levels, error];
    }
  }
  return best;
}

/** Values and how many samples are nearest to each. */
interface Counted {
  readonly values: Float32Array;
  readonly counts: Float32Array;
}

/** Sixteen values to a level, which is as good as all samples and much quicker. */
const COUNTED = 4096;

function countedIn(samples: Float32Array, [low, high]: readonly [number, number]): Counted {
  if (samples.length <= COUNTED) return { values: samples, counts: new Float32Array(samples.length).fill(1) };
  const step = Math.max(high - low, 1e-12) / (COUNTED - 1);
  const counts = new Float32Array(COUNTED);
  for (const value of samples) {
    const at = Math.round((value - low) / step);
    counts[at] = (counts[at] as number) + 1;
  }
  return { values: Float32Array.from({ length: COUNTED }, (_, at) => low + at * step), counts };
}

/** The levels behind a curve: of those given and the tightest ones, those with the smaller error. */
export function chooseLevelsBehind(samples: Float32Array, before: Levels, curve: Curve): Levels {
  const [low, high] = endsOf(samples.map(curve));
  const tight = levelsOf(low, Math.min(high, curve(before.scale * (255 - before.zero))));
  const error = (levels: Levels) =>
    samples.reduce((sum, value) => {
      const off = round(curve(round(value, before)), levels) - curve(value);
      return sum + off * off;
    }, 0);
  return error(tight) < error(before) ? tight : before;
}

/** Levels from `low` to `high`; zero is always a level of its own. */
export function levelsOf(low: number, high: number): Levels {
  const [from, to] = [Math.min(0, low), Math.max(0, high)];
  const scale = Math.fround(Math.max(to - from, 1e-6) / 255);
  return { scale, zero: Math.min(255, Math.max(0, Math.round(-from / scale))) };
}

/** A value as its nearest level. */
export function round(value: number, { scale, zero }: Levels): number {
  return (Math.min(255, Math.max(0, Math.round(value / scale) + zero)) - zero) * scale;
}

/** The least and the largest value; zero is always between them. */
export function endsOf(samples: Float32Array): [low: number, high: number] {
  let [low, high] = [0, 0];
  for (const value of samples) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function squareError(
  { values, counts }: Counted,
  wanted: Float32Array,
  { scale, zero }: Levels,
  curve: Curve,
): number {
  const drawn = Float32Array.from({ length: 256 }, (_, byte) => curve((byte - zero) * scale));
  let sum = 0;
  for (let at = 0; at < values.length; at++) {
    const byte = Math.min(255, Math.max(0, Math.round((values[at] as number) / scale) + zero));
    const off = (drawn[byte] as number) - (wanted[at] as number);
    sum += (counts[at] as number) * off * off;
  }
  return sum;
}

/** Weights as signed bytes. */
export interface ByteWeights {
  readonly weights: OnnxTensor;
  /** One for each output channel. */
  readonly scales: readonly number[];
  /** The sum of each output channel's weights, as numbers. */
  readonly sums: readonly number[];
}

/** The weights of a convolution, first axis output channels, as signed bytes with one scale a channel. */
export function quantizeWeights({ dims, values }: OnnxTensor): ByteWeights {
  const channels = dims[0] ?? 1;
  const each = values.length / channels;
  const scales: number[] = [];
  const sums: number[] = [];
  const quantized = new Int8Array(values.length);
  for (let c = 0; c < channels; c++) {
    const own = values.subarray(c * each, (c + 1) * each);
    let peak = 0;
    let sum = 0;
    for (const value of own) {
      peak = Math.max(peak, Math.abs(value));
      sum += value;
    }
    const scale = Math.fround(Math.max(peak, 1e-9) / 127);
    scales.push(scale);
    sums.push(sum);
    for (let at = 0; at < each; at++) quantized[c * each + at] = Math.round((own[at] as number) / scale);
  }
  return { weights: { type: 'int8', dims, values: quantized }, scales, sums };
}
