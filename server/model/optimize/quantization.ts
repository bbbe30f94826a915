// Numbers as bytes: which range of values the 256 levels stand for, and weights as signed bytes, one scale a channel. Pure.

import type { OnnxTensor } from '../onnx/model-file.ts';

/** How a byte stands for a number: number = scale · (byte − zero). */
export interface Levels {
  readonly scale: number;
  readonly zero: number;
}

/** What is done to a value after it was rounded to a byte; errors count behind it. */
export type Curve = (value: number) => number;

/** Parts of the largest value that are tried as the end of the range: a few rare values may be cut for finer steps. */
const CUTS = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];

/**
 * The levels with the least mean square error behind the curve.
 * @param samples Values as they occur.
 */
export function chooseLevels(samples: Float32Array, curve: Curve = (value) => value): Levels {
  const [low, high] = endsOf(samples);
  const wanted = samples.map(curve);
  let best: Levels = levelsOf(low, high);
  let least = Number.POSITIVE_INFINITY;
  for (const cutLow of CUTS) {
    for (const cutHigh of CUTS) {
      const levels = levelsOf(low * cutLow, high * cutHigh);
      const error = squareError(samples, wanted, levels, curve);
      if (error < least) [best, least] = [levels, error];
    }
  }
  return best;
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
  samples: Float32Array,
  wanted: Float32Array,
  { scale, zero }: Levels,
  curve: Curve,
): number {
  const drawn = Float32Array.from({ length: 256 }, (_, byte) => curve((byte - zero) * scale));
  let sum = 0;
  for (let at = 0; at < samples.length; at++) {
    const byte = Math.min(255, Math.max(0, Math.round((samples[at] as number) / scale) + zero));
    const off = (drawn[byte] as number) - (wanted[at] as number);
    sum += off * off;
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
