// The means and mean squares of a layer, as norms need them. Nothing of the layer's size is written for them: fresh memory
// costs more time than the sums. Pure.

import { DATA_TYPE, type OnnxTensor } from '../../onnx/model-file.ts';
import { type Builder, MICROSOFT } from '../builder.ts';

/** By the names of values. */
export interface Moments {
  readonly mean: string;
  /** The mean of the squares. */
  readonly square: string;
}

/** How a layer ends that is seen as one row a channel, by which the rewrite for blocks finds it: what is summed up over all
 * rows is the same for any cut of the layer into rows. */
export const ROWS = '/rows';

/** Of each channel, [1, channels, 1, 1]. */
export function channelMoments(builder: Builder, layer: string): Moments {
  const mean = builder.node('GlobalAveragePool', [layer]);
  const square = builder.node('GlobalAveragePool', [builder.node('Mul', [layer, layer])]);
  return { mean, square };
}

/**
 * Of all channels together, [1, 1, 1, 1]. Channel by channel first: one sum of floats over millions swallows the small ones. A channel's
 * product with itself is its sum of squares, in a third of the time that ReduceSumSquare takes.
 */
export function layerMoments(builder: Builder, layer: string, channels: number, opset: number): Moments {
  const rows = `${layer}${ROWS}`;
  const shape = builder.ints([0, channels, 1, -1]);
  builder.nodes.push({ op: 'Reshape', domain: '', inputs: [layer, shape], outputs: [rows], attributes: {} });
  const squares = builder.node('FusedMatMul', [rows, rows], { transB: { int: 1 } }, MICROSOFT);
  const length = builder.node('Shape', [rows], { start: { int: 3 }, end: { int: 4 } });
  const over = builder.node('Cast', [length], { to: { int: DATA_TYPE.float32 } });
  const means = builder.mean(rows, [3], opset);
  const acrossRows = (value: string) => builder.mean(value, [1], opset);
  return { mean: acrossRows(means), square: acrossRows(builder.node('Div', [squares, over])) };
}

/** So many channels at most have their products taken; with more, a convolution and two squares are faster. */
const MOST_PRODUCTS = 64;

/**
 * Of each channel of a layer, and of each channel of a 1×1 convolution of it, which need not be computed: its means and
 * mean squares follow from the layer's means and the mean products of each two of its channels.
 * @param weights [channels, channels, 1, 1]; without a bias.
 */
export function momentsAcross(
  builder: Builder,
  layer: string,
  weights: OnnxTensor,
): [own: Moments, other: Moments] {
  const [channels = 0] = weights.dims;
  if (channels > MOST_PRODUCTS) {
    const convolved = builder.node('Conv', [layer, builder.tensor(weights)]);
    return [channelMoments(builder, layer), channelMoments(builder, convolved)];
  }
  const mean = builder.node('GlobalAveragePool', [layer]);
  const products = meanProducts(builder, layer, channels);
  const across = builder.tensor({ ...weights, dims: [channels, channels] });
  const column = builder.node('Reshape', [mean, builder.ints([channels, 1])]);
  const places = builder.ints([1, channels, 1, 1]);
  const rowSums = (one: string, other: string) => {
    const sums = builder.node('ReduceSum', [builder.node('Mul', [one, other]), builder.ints([1])]);
    return builder.node('Reshape', [sums, places]);
  };
  return [
    { mean, square: rowSums(products, builder.tensor(unit(channels))) },
    {
      mean: builder.node('Reshape', [builder.node('MatMul', [across, column]), places]),
      square: rowSums(builder.node('MatMul', [across, products]), across),
    },
  ];
}

/** The mean product of each two channels, [channels, channels]. */
function meanProducts(builder: Builder, layer: string, channels: number): string {
  const rows = builder.node('Reshape', [layer, builder.ints([channels, -1])]);
  const products = builder.node('FusedMatMul', [rows, rows], { transB: { int: 1 } }, MICROSOFT);
  const sides = builder.node('Shape', [layer], { start: { int: 2 } });
  const places = builder.node('ReduceProd', [sides], { keepdims: { int: 0 } });
  return builder.node('Div', [products, builder.node('Cast', [places], { to: { int: 1 } })]);
}

/** Ones on the diagonal. */
function unit(side: number): OnnxTensor {
  const values = new Float32Array(side * side);
  for (let at = 0; at < side; at++) values[at * side + at] = 1;
  return { type: 'float32', dims: [side, side], values };
}
