// "Enlarge twofold, pad by reflection, convolve 3×3" as one convolution of the small picture with four times the channels,
// which are put side by side behind it: bytes are not rounded once more by enlarging, which in ONNX Runtime cuts their
// fractions off, and the large picture is not passed over for it. From the corner this is exact: the enlarged picture mirrored
// at its first row is the small one mirrored there, and at its last row, where enlarging repeats the edge, it is the small one
// with its edge repeated. Enlarging from half pixels has no exact counterpart at the border: the outermost row takes itself
// where reflection would take a quarter of the next one. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { type EnlargedConvolution, enlargedConvolution, type Lie } from '../enlarged-convolution.ts';
import { GraphView, withoutDead } from '../graph.ts';
import { resultOf } from './result.ts';

/** One pixel of enlarged rows, by what it takes of the small row's pixels before, at and after it; a row for each tap. */
type Phase = readonly (readonly number[])[];

const PHASES: Record<Lie, readonly Phase[]> = {
  corner: [
    [
      [0.5, 0.5, 0],
      [0, 1, 0],
      [0, 0.5, 0.5],
    ],
    [
      [0, 1, 0],
      [0, 0.5, 0.5],
      [0, 0, 1],
    ],
  ],
  'half-pixel': [
    [
      [0.75, 0.25, 0],
      [0.25, 0.75, 0],
      [0, 0.75, 0.25],
    ],
    [
      [0.25, 0.75, 0],
      [0, 0.75, 0.25],
      [0, 0.25, 0.75],
    ],
  ],
};

/** Paddings of the small picture, one behind the other. */
const PADDINGS: Record<Lie, readonly { readonly mode: string; readonly by: readonly number[] }[]> = {
  corner: [
    { mode: 'reflect', by: [0, 0, 1, 1, 0, 0, 0, 0] },
    { mode: 'edge', by: [0, 0, 0, 0, 0, 0, 1, 1] },
  ],
  'half-pixel': [{ mode: 'edge', by: [0, 0, 1, 1, 0, 0, 1, 1] }],
};

/** The graph with every such enlarging folded; the model itself where there is none. */
export function withEnlargingFolded(model: OnnxModel): OnnxModel {
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = enlargedConvolution(view, resize);
    if (!found || !goesOnAsBytes(view, found.conv)) continue;
    const folded = fold(view, resize.inputs[0] ?? '', found);
    instead.set(found.pad, folded.pads);
    instead.set(found.conv, folded.nodes);
    for (const [name, tensor] of folded.constants) constants.set(name, tensor);
  }
  if (instead.size === 0) return model;
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

/** Floats gain nothing by this. */
function goesOnAsBytes(view: GraphView, conv: OnnxNode): boolean {
  const { norm, name } = resultOf(view, conv);
  return norm !== undefined || view.onlyConsumer(name)?.op === 'LeakyRelu';
}

function fold(view: GraphView, small: string, { conv, weights, lie }: EnlargedConvolution) {
  const [result = ''] = conv.outputs;
  const name = (part: string) => `${result}/fourfold/${part}`;
  const constants = new Map([[name('weights'), phases(weights, PHASES[lie])]]);
  let padded = small;
  const pads = PADDINGS[lie].map(({ mode, by }): OnnxNode => {
    const [values, from] = [name(`${mode}-pads`), padded];
    constants.set(values, { type: 'int64', dims: [by.length], values: Float64Array.from(by) });
    padded = name(mode);
    return {
      op: 'Pad',
      domain: '',
      inputs: [from, values],
      outputs: [padded],
      attributes: { mode: { string: mode } },
    };
  });
  const bias = view.constant(conv.inputs[2]);
  if (bias) constants.set(name('bias'), fourfold(bias));
  const inputs = [padded, name('weights'), ...(bias ? [name('bias')] : [])];
  const sideBySide: OnnxNode = {
    op: 'DepthToSpace',
    domain: '',
    inputs: [name('out')],
    outputs: [result],
    attributes: { blocksize: { int: 2 }, mode: { string: 'DCR' } },
  };
  return { pads, constants, nodes: [{ ...conv, inputs, outputs: [name('out')] }, sideBySide] };
}

/** The four phases' kernels, one phase behind the other along the outputs, as DepthToSpace takes them. */
function phases({ dims, values }: OnnxTensor, along: readonly Phase[]): OnnxTensor {
  const kernels = (dims[0] ?? 0) * (dims[1] ?? 0);
  const made = new Float32Array(kernels * 9 * 4);
  for (const [phase, [down, right]] of [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ].entries()) {
    for (let kernel = 0; kernel < kernels; kernel++) {
      for (let at = 0; at < 9; at++) {
        let sum = 0;
        for (let tap = 0; tap < 9; tap++) {
          const rows = along[down ?? 0]?.[Math.floor(tap / 3)]?.[Math.floor(at / 3)] ?? 0;
          const columns = along[right ?? 0]?.[tap % 3]?.[at % 3] ?? 0;
          sum += (values[kernel * 9 + tap] ?? 0) * rows * columns;
        }
        made[(phase * kernels + kernel) * 9 + at] = sum;
      }
    }
  }
  return { type: 'float32', dims: [4 * (dims[0] ?? 0), ...dims.slice(1)], values: made };
}

/** What stands for each channel, for its four phases. */
function fourfold({ dims, values }: OnnxTensor): OnnxTensor {
  const made = new Float32Array(values.length * 4);
  for (let phase = 0; phase < 4; phase++) made.set(values, phase * values.length);
  return { type: 'float32', dims: [4 * (dims[0] ?? 0), ...dims.slice(1)], values: made };
}
