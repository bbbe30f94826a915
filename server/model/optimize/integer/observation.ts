// What values flow through a float graph: which to watch, the graph that shows them, and samples of what was seen. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { GraphView } from '../graph.ts';
import { endsOf } from './quantization.ts';
import { resultOf } from './result.ts';

/** What was seen of one value [1, channels, height, width]. */
export interface Observed {
  /** Channels, height and width, for the pictures that were shown. */
  readonly dims: readonly [channels: number, height: number, width: number];
  readonly samples: Float32Array;
  /** The least and the largest value of each picture, zero between them; every picture has equally many samples. */
  readonly ends: readonly Ends[];
  /** Of each channel. */
  readonly channels: readonly ChannelSums[];
}

export type Ends = readonly [low: number, high: number];

/** What sums up one channel. */
export interface ChannelSums {
  /** The largest absolute value. */
  readonly peak: number;
  readonly count: number;
  readonly sum: number;
  readonly squares: number;
}

/** Mean and standard deviation of a channel. */
export function momentsOf({ count, sum, squares }: ChannelSums): { mean: number; deviation: number } {
  const mean = sum / count;
  return { mean, deviation: Math.sqrt(Math.max(0, squares / count - mean * mean)) };
}

/** Only every so many rows and columns are looked at: a prime, so that no pattern of the network repeats with it. */
const STEP = 3;
/** Samples of a value that are kept of each picture. */
const KEPT = 20_000;

/** The least part of the furthest range that a picture's own may be; a plain wall has next to none. */
export const LEAST_RANGE = 1 / 64;

const WATCHED_INPUTS = new Set(['Conv', 'Pad', 'LeakyRelu', 'Relu', 'Resize', 'Tanh']);

/** The values that rewriting has to know the range of. */
export function valuesToWatch(model: OnnxModel): string[] {
  const view = new GraphView(model);
  const names = new Set<string>();
  for (const node of model.nodes) {
    if (WATCHED_INPUTS.has(node.op)) names.add(node.inputs[0] ?? '');
    if (node.op !== 'Conv') continue;
    const { name, output } = resultOf(view, node);
    for (const each of [node.outputs[0] ?? '', name, output]) names.add(each);
  }
  for (const { name } of model.inputs) names.delete(name);
  return [...names].filter((name) => name !== '' && !view.constant(name));
}

const SHAPE = '/shape-of-it';
const SAMPLE = '/sample-of-it';

/** The model with a sample and the shape of each named value among its outputs. */
export function watched(model: OnnxModel, names: readonly string[]): OnnxModel {
  const constants = withThinning(model, [2, 3]);
  const node = (op: string, inputs: string[], output: string): OnnxNode => ({
    op,
    domain: '',
    inputs,
    outputs: [output],
    attributes: {},
  });
  const nodes = names.flatMap((name) => [
    node('Shape', [name], name + SHAPE),
    node('Slice', [name, 'watch-from', 'watch-to', 'watch-axes', 'watch-steps'], name + SAMPLE),
  ]);
  const outputs = names.flatMap((name) => [
    { name: name + SHAPE, type: 'int64', dims: [4] } as const,
    { name: name + SAMPLE, type: 'float32', dims: ['n', 'c', 'h', 'w'] } as const,
  ]);
  return {
    ...model,
    constants,
    nodes: [...model.nodes, ...nodes],
    outputs: [...model.outputs, ...outputs],
  };
}

/** What a run of a watched model gave, by output name. */
export type RunResult = Readonly<
  Record<string, { readonly data: ArrayLike<number> | BigInt64Array; readonly dims: readonly number[] }>
>;

/** The sample of one value of a run, as floats. */
export function sampleOf(result: RunResult, name: string): Float32Array | undefined {
  const data = result[name + SAMPLE]?.data;
  return data instanceof Float32Array ? data : undefined;
}

/** Adds what one run showed to what is known. */
export function observe(known: Map<string, Observed>, result: RunResult, names: readonly string[]): void {
  for (const name of names) {
    const shape = result[name + SHAPE]?.data;
    const sample = sampleOf(result, name);
    if (!(shape instanceof BigInt64Array) || !sample) continue;
    const [, channels = 1, height = 1, width = 1] = Array.from(shape, Number);
    const before = known.get(name);
    const plane = sample.length / channels;
    const sums = Array.from({ length: channels }, (_, c) =>
      sumUp(sample.subarray(c * plane, (c + 1) * plane), before?.channels[c]),
    );
    const step = Math.max(1, sample.length / KEPT);
    const kept = Float32Array.from(
      { length: Math.min(KEPT, sample.length) },
      (_, index) => sample[Math.floor(index * step)] as number,
    );
    known.set(name, {
      dims: [channels, height, width],
      channels: sums,
      ends: [...(before?.ends ?? []), endsOf(sample)],
      samples: before ? Float32Array.from([...before.samples, ...kept]) : kept,
    });
  }
}

function sumUp(values: Float32Array, before: ChannelSums | undefined): ChannelSums {
  let { peak = 0, sum = 0, squares = 0 } = before ?? {};
  for (const value of values) {
    peak = Math.max(peak, Math.abs(value));
    sum += value;
    squares += value * value;
  }
  return { peak, sum, squares, count: (before?.count ?? 0) + values.length };
}

/**
 * What was seen of a value whose range follows the picture.
 * @returns The furthest that any picture reached, and samples of all as if each had reached that far.
 */
export function ranged({ samples, ends }: Observed): { ends: Ends; samples: Float32Array } {
  const furthest: Ends = [Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high))];
  const gains = ends.map((own) => gainBetween(own, furthest));
  const each = samples.length / ends.length;
  return {
    ends: furthest,
    samples: samples.map((value, at) => value / (gains[Math.floor(at / each)] as number)),
  };
}

/** How many times as far a picture reaches. */
function gainBetween([low, high]: Ends, [least, most]: Ends): number {
  return Math.max(most > 0 ? high / most : 0, least < 0 ? low / least : 0, LEAST_RANGE);
}

/** A model's constants, and those that thin a value out along its height and width. */
function withThinning({ constants }: OnnxModel, axes: readonly [number, number]): Map<string, OnnxTensor> {
  const ints = (values: readonly number[]): OnnxTensor => ({
    type: 'int64',
    dims: [values.length],
    values: Float64Array.from(values),
  });
  return new Map([
    ...constants,
    ['watch-from', ints([0, 0])],
    ['watch-to', ints([1e9, 1e9])],
    ['watch-axes', ints(axes)],
    ['watch-steps', ints([STEP, STEP])],
  ]);
}

/**
 * A rewritten model with samples of values that are bytes in it among its outputs, thinned out as the others are.
 * @param gains What values of the picture's own range are multiplied by; outputs too.
 */
export function watchedBytes(
  model: OnnxModel,
  names: readonly string[],
  gains: readonly string[] = [],
): OnnxModel {
  const constants = withThinning(model, [1, 2]);
  const nodes = names.map((name) => ({
    op: 'Slice',
    domain: '',
    inputs: [name, 'watch-from', 'watch-to', 'watch-axes', 'watch-steps'],
    outputs: [name + SAMPLE],
    attributes: {},
  }));
  const outputs = [
    ...names.map((name) => ({ name: name + SAMPLE, type: 'uint8', dims: ['n', 'h', 'w', 'c'] }) as const),
    ...gains.map((name) => ({ name, type: 'float32', dims: [] }) as const),
  ];
  return {
    ...model,
    constants,
    nodes: [...model.nodes, ...nodes],
    outputs: [...model.outputs, ...outputs],
  };
}

/**
 * How much stronger a value is than what rounding did to it, in dB.
 * @param exact [1, channels, height, width]
 * @param bytes The same value as bytes, [1, height, width, channels].
 */
export function signalToNoise(
  exact: { readonly data: Float32Array; readonly channels: number },
  bytes: { readonly data: Uint8Array; readonly scale: number; readonly zero: number },
): number {
  const plane = exact.data.length / exact.channels;
  let [signal, noise] = [0, 0];
  for (let c = 0, at = 0; c < exact.channels; c++) {
    for (let pixel = 0; pixel < plane; pixel++, at++) {
      const value = exact.data[at] as number;
      const rounded = ((bytes.data[pixel * exact.channels + c] as number) - bytes.zero) * bytes.scale;
      signal += value * value;
      noise += (value - rounded) ** 2;
    }
  }
  return noise === 0 ? 99 : 10 * Math.log10(signal / noise);
}

/** What a value was multiplied by in a run of `watchedBytes`; 1 where it has no gain. */
export function gainOf(result: RunResult, name: string | undefined): number {
  const data = name === undefined ? undefined : result[name]?.data;
  return data instanceof Float32Array ? (data[0] ?? 1) : 1;
}

/** The sample of one value of a run of `watchedBytes`. */
export function byteSampleOf(result: RunResult, name: string): Uint8Array | undefined {
  const data = result[name + SAMPLE]?.data;
  return data instanceof Uint8Array ? data : undefined;
}
