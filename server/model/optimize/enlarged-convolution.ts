// "Enlarge twofold, pad by reflection, convolve 3×3", which floats and bytes fold into one convolution of the small picture,
// each in its own way: finds such chains, puts other steps in their place, and has the steps that both need. From the corner
// the small picture can be padded so that this is exact: the enlarged picture mirrored at its first row is the small one
// mirrored there, and at its last row, where enlarging repeats the edge, it is the small one with its edge repeated. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../onnx/model-file.ts';
import { GraphView, intOf, intsOf, stringOf, withoutDead } from './graph.ts';

/** Where the pixels of the large picture lie: the first one on the small one's first, or half a large pixel off. */
export type Lie = 'corner' | 'half-pixel';

/** An enlarging and what stands behind it. */
export interface EnlargedConvolution {
  readonly resize: OnnxNode;
  readonly pad: OnnxNode;
  readonly conv: OnnxNode;
  readonly weights: OnnxTensor;
  readonly lie: Lie;
}

/** Steps that take the place of others, and the constants that they need. */
export interface Folding {
  readonly instead: readonly (readonly [step: OnnxNode, steps: readonly OnnxNode[]])[];
  readonly constants: ReadonlyMap<string, OnnxTensor>;
}

/** The graph with what `fold` makes of its enlarged convolutions; the model itself where that is nothing. */
export function withEnlargedFolded(
  model: OnnxModel,
  fold: (view: GraphView, found: EnlargedConvolution) => Folding | undefined,
): OnnxModel {
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = enlargedConvolution(view, resize);
    const folding = found && fold(view, found);
    if (!folding) continue;
    for (const [step, steps] of folding.instead) instead.set(step, steps);
    for (const [name, tensor] of folding.constants) constants.set(name, tensor);
  }
  if (instead.size === 0) return model;
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

/** Paddings of the small picture, one behind the other. */
const PADDINGS: Record<Lie, readonly { readonly mode: string; readonly by: readonly number[] }[]> = {
  corner: [
    { mode: 'reflect', by: [0, 0, 1, 1, 0, 0, 0, 0] },
    { mode: 'edge', by: [0, 0, 0, 0, 0, 0, 1, 1] },
  ],
  'half-pixel': [{ mode: 'edge', by: [0, 0, 1, 1, 0, 0, 1, 1] }],
};

/** The small picture with what a convolution of it meets around it. Half a pixel off, its border is not the enlarged one's. */
export function paddedSmall(
  { resize, lie }: EnlargedConvolution,
  name: (part: string) => string,
): {
  readonly steps: OnnxNode[];
  readonly constants: ReadonlyMap<string, OnnxTensor>;
  readonly padded: string;
} {
  const constants = new Map<string, OnnxTensor>();
  let padded = resize.inputs[0] ?? '';
  const steps = PADDINGS[lie].map(({ mode, by }): OnnxNode => {
    const [values, from] = [name(`${mode}-pads`), padded];
    constants.set(values, { type: 'int64', dims: [by.length], values: Float64Array.from(by) });
    padded = name(`${mode}-padded`);
    return {
      op: 'Pad',
      domain: '',
      inputs: [from, values],
      outputs: [padded],
      attributes: { mode: { string: mode } },
    };
  });
  return { steps, constants, padded };
}

/** Four sets of channels of each pixel, one behind the other, as two by two pixels. */
export function sideBySide(sets: string, output: string): OnnxNode {
  return {
    op: 'DepthToSpace',
    domain: '',
    inputs: [sets],
    outputs: [output],
    attributes: { blocksize: { int: 2 }, mode: { string: 'DCR' } },
  };
}

/** Whether a step is such a {@link sideBySide}. */
export function isSideBySide(node: OnnxNode): boolean {
  return (
    node.op === 'DepthToSpace' && intOf(node, 'blocksize', 0) === 2 && stringOf(node, 'mode', 'DCR') === 'DCR'
  );
}

/** An enlarging with the padding and the convolution behind it; undefined when it is not just that. */
function enlargedConvolution(view: GraphView, resize: OnnxNode): EnlargedConvolution | undefined {
  const lie = resize.op === 'Resize' ? lieOf(resize) : undefined;
  if (!lie || !isTwofold(view, resize)) return undefined;
  const pad = view.onlyConsumer(resize.outputs[0]);
  const pads = pad?.op === 'Pad' ? view.constant(pad.inputs[1]) : undefined;
  if (!pad || stringOf(pad, 'mode', 'constant') !== 'reflect') return undefined;
  if (String(pads?.values) !== '0,0,1,1,0,0,1,1') return undefined;
  const conv = view.onlyConsumer(pad.outputs[0]);
  const weights = view.constant(conv?.inputs[1]);
  if (conv?.op !== 'Conv' || weights?.type !== 'float32' || !isPlain3x3(conv, weights)) return undefined;
  return { resize, pad, conv, weights, lie };
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
