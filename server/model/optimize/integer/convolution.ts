// An integer convolution as steps of a graph: QLinearConv, or several pixels of a row at once where that is faster. Pure.

import type { OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { type Builder, MICROSOFT } from '../builder.ts';
import { type ByteValue, levelsIn } from './byte-value.ts';
import { joinedTimes, timesOver } from './channels.ts';
import { type AtOnce, columnsBeyond, inBlocks, weightsForRows } from './pixel-rows.ts';
import type { Levels } from './quantization.ts';

/** A convolution of bytes [1, height, width, channels]. */
export interface Convolution {
  readonly value: ByteValue;
  /** Signed bytes [outputs, inputs, rows, columns]. */
  readonly weights: OnnxTensor;
  /** Of each output channel's weights: numbers, or the name of what is known at run time only. */
  readonly scales: string | readonly number[];
  /** In steps of scale · scale; alike. */
  readonly bias: string | readonly number[];
  /** Of the result. */
  readonly levels: Levels;
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly group: number;
}

/** Appends a convolution and gives its result's name. */
export function convolve(built: Builder, conv: Convolution): string {
  const [channels = 1, , high = 1, wide = 1] = conv.weights.dims;
  const { value, weights, scales, bias, levels } = conv;
  const zeros: OnnxTensor = { type: 'int8', dims: [channels], values: new Int8Array(channels) };
  return built.node(
    'QLinearConv',
    [
      value.name,
      ...levelsIn(built, value),
      built.tensor(weights),
      typeof scales === 'string' ? scales : built.float(scales),
      built.tensor(zeros),
      ...levelsIn(built, levels),
      typeof bias === 'string' ? bias : built.tensor(wholeNumbers(bias)),
    ],
    {
      channels_last: { int: 1 },
      kernel_shape: { ints: [high, wide] },
      strides: { ints: conv.strides },
      pads: { ints: conv.pads },
      group: { int: conv.group },
    },
    MICROSOFT,
  );
}

/** The same for a convolution of stride one that pads nothing and has a constant bias, so many pixels at once. */
export function convolveAtOnce(
  built: Builder,
  conv: Convolution & { readonly bias: readonly number[] },
  pixels: AtOnce,
): string {
  const [channels = 1, inputs = 1, , wide = 1] = conv.weights.dims;
  const missing = conv.group === 1 ? inBlocks(pixels * channels) - pixels * channels : 0;
  if (pixels === 1 && missing === 0) return convolve(built, conv);
  const grouped =
    pixels === 1
      ? conv.value.name
      : built.node('Reshape', [
          withColumnsBeyond(built, conv.value.name, columnsBeyond(wide, pixels)),
          built.ints([0, 0, -1, pixels * inputs]),
        ]);
  // A full block of channels, of which the first are taken, is faster than these alone.
  const made = convolve(built, {
    ...conv,
    value: { ...conv.value, name: grouped },
    weights: widened(weightsForRows(conv.weights, pixels), missing),
    scales: scalesAtOnce(built, conv.scales, pixels, missing),
    bias: [...timesOver(conv.bias, pixels), ...Array<number>(missing).fill(0)],
  });
  const own =
    missing === 0
      ? made
      : built.node('Slice', [made, built.ints([0]), built.ints([pixels * channels]), built.ints([3])]);
  return pixels === 1 ? own : built.node('Reshape', [own, built.ints([0, 0, -1, channels])]);
}

function scalesAtOnce(
  built: Builder,
  scales: Convolution['scales'],
  pixels: AtOnce,
  missing: number,
): Convolution['scales'] {
  const ones = Array<number>(missing).fill(1);
  return typeof scales === 'string'
    ? joinedTimes(built, scales, pixels, missing > 0 ? [built.float(ones)] : [])
    : [...timesOver(scales, pixels), ...ones];
}

/**
 * The same with each row as a picture of its own, beside the rows that its kernel meets. With a bias that is known at run time
 * only, ONNX Runtime writes every pixel's neighbours down, and the sums of the whole picture as 32-bit numbers: 19 and 33 MB
 * for 128 and 512 channels of 128×128. Those of a row stay in the cache.
 */
export function convolveByRows(built: Builder, conv: Convolution): string {
  const [channels = 1, inputs = 1, high = 1] = conv.weights.dims;
  // What each channel computes by itself is less work than copying its rows.
  if (conv.group !== 1 || conv.pads.some((pad) => pad !== 0)) return convolve(built, conv);
  const [down = 1, right = 1] = conv.strides;
  const rows = Array.from({ length: high }, (_, row) => {
    const [to, whole] = [row === high - 1 ? 1e9 : row + 1 - high, high === 1 && down === 1];
    const at = () => [[row], [to], [1], [down]].map((numbers) => built.ints(numbers));
    const taken = whole ? conv.value.name : built.node('Slice', [conv.value.name, ...at()]);
    return built.node('Reshape', [taken, built.ints([-1, 1, 0, inputs])]);
  });
  const [first = ''] = rows;
  const name = rows.length === 1 ? first : built.node('Concat', rows, { axis: { int: 1 } });
  const made = convolve(built, { ...conv, value: { ...conv.value, name }, strides: [1, right] });
  return built.node('Reshape', [made, built.ints([1, -1, 0, channels])]);
}

/** A padded value with a few columns more on the right; they come with its padding, so that it is not copied twice. */
function withColumnsBeyond(built: Builder, name: string, columns: number): string {
  if (columns === 0) return name;
  const pad = built.nodes.findLast(({ outputs }) => outputs[0] === name);
  const pads = pad?.op === 'Pad' ? built.constants.get(pad.inputs[1] ?? '') : undefined;
  const [from, by, attributes]: [string, number[], OnnxNode['attributes']] =
    pad && pads
      ? [pad.inputs[0] ?? '', [...pads.values], pad.attributes]
      : [name, Array<number>(8).fill(0), { mode: { string: 'edge' } }];
  by[6] = (by[6] ?? 0) + columns;
  return built.node('Pad', [from, built.ints(by)], attributes);
}

/** Weights with so many more output channels, which give nothing. */
function widened({ dims, values }: OnnxTensor, more: number): OnnxTensor {
  const [out = 1, ...rest] = dims;
  const wide = new Int8Array((values.length / out) * (out + more));
  wide.set(values);
  return { type: 'int8', dims: [out + more, ...rest], values: wide };
}

function wholeNumbers(values: readonly number[]): OnnxTensor {
  return { type: 'int32', dims: [values.length], values: Int32Array.from(values) };
}
