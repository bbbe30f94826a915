// Finds "enlarge twofold, pad by reflection, convolve 3×3", which floats and bytes fold into one convolution of the small
// picture, each in its own way. Pure.

import type { OnnxNode, OnnxTensor } from '../onnx/model-file.ts';
import { type GraphView, intOf, intsOf, stringOf } from './graph.ts';

/** Where the pixels of the large picture lie: the first one on the small one's first, or half a large pixel off. */
export type Lie = 'corner' | 'half-pixel';

/** What stands behind an enlarging. */
export interface EnlargedConvolution {
  readonly pad: OnnxNode;
  readonly conv: OnnxNode;
  readonly weights: OnnxTensor;
  readonly lie: Lie;
}

/** The padding and the convolution behind an enlarging; undefined when it is not just that. */
export function enlargedConvolution(view: GraphView, resize: OnnxNode): EnlargedConvolution | undefined {
  const lie = resize.op === 'Resize' ? lieOf(resize) : undefined;
  if (!lie || !isTwofold(view, resize)) return undefined;
  const pad = view.onlyConsumer(resize.outputs[0]);
  const pads = pad?.op === 'Pad' ? view.constant(pad.inputs[1]) : undefined;
  if (!pad || stringOf(pad, 'mode', 'constant') !== 'reflect') return undefined;
  if (String(pads?.values) !== '0,0,1,1,0,0,1,1') return undefined;
  const conv = view.onlyConsumer(pad.outputs[0]);
  const weights = view.constant(conv?.inputs[1]);
  if (conv?.op !== 'Conv' || weights?.type !== 'float32' || !isPlain3x3(conv, weights)) return undefined;
  return { pad, conv, weights, lie };
}

/** Where the large pixels of a linear enlarging lie; undefined for another one. */
function lieOf(resize: OnnxNode): Lie | undefined {
  if (stringOf(resize, 'mode', 'nearest') !== 'linear') return undefined;
  switch (stringOf(resize, 'coordinate_transformation_mode', 'half_pixel')) {
    case 'asymmetric':
      return 'corner';
    // PyTorch's differs where a side becomes one pixel, which doubling never makes.
    case 'half_pixel':
    case 'pytorch_half_pixel':
      return 'half-pixel';
    default:
      return undefined;
  }
}

/** That it is twofold shows in the scales, or where sizes are computed, in the product. */
function isTwofold(view: GraphView, resize: OnnxNode): boolean {
  const scales = view.constant(resize.inputs[2]);
  if (scales && scales.values.length > 0) return String(scales.values) === '1,1,2,2';
  return factorsBehind(view, resize.inputs[3], 0) === 2;
}

/** The one whole factor that computed sizes are multiplied by; 0 for several. */
function factorsBehind(view: GraphView, value: string | undefined, depth: number): number {
  const node = view.producer(value);
  if (!node || node.op === 'Shape' || depth > 12) return 1;
  if (node.op === 'Mul') {
    const factor = node.inputs.map((name) => view.constant(name)).find((each) => each);
    return factor?.values.length === 1 ? (factor.values[0] ?? 0) : 0;
  }
  const factors = new Set(
    node.inputs.map((name) => factorsBehind(view, name, depth + 1)).filter((each) => each !== 1),
  );
  const [factor = 1, ...more] = factors;
  return more.length > 0 ? 0 : factor;
}

/** A dense 3×3 convolution of every pixel, that pads nothing itself. */
function isPlain3x3(conv: OnnxNode, weights: OnnxTensor): boolean {
  const all = (name: string, wanted: number) => intsOf(conv, name).every((value) => value === wanted);
  return (
    weights.dims[2] === 3 &&
    weights.dims[3] === 3 &&
    intOf(conv, 'group', 1) === 1 &&
    stringOf(conv, 'auto_pad', 'NOTSET') === 'NOTSET' &&
    all('strides', 1) &&
    all('dilations', 1) &&
    all('pads', 0)
  );
}
