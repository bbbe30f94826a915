// "Enlarge twofold, pad by reflection, convolve 3×3" as one convolution of the small picture with four times the channels,
// which are put side by side behind it: bytes are not rounded once more by enlarging, which in ONNX Runtime cuts their
// fractions off, and the large picture is not passed over for it. From the corner this is exact; enlarging from half pixels
// has no exact counterpart at the border: the outermost row takes itself where reflection would take a quarter of the next
// one. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import {
  type EnlargedConvolution,
  type Folding,
  type Lie,
  paddedSmall,
  sideBySide,
  withEnlargedFolded,
} from '../enlarged-convolution.ts';
import type { GraphView } from '../graph.ts';
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

/** The graph with every such enlarging folded; the model itself where there is none. */
export function withEnlargingFolded(model: OnnxModel): OnnxModel {
  return withEnlargedFolded(model, (view, found) =>
    goesOnAsBytes(view, found.conv) ? folded(view, found) : undefined,
  );
}

/** Floats gain nothing by this. */
function goesOnAsBytes(view: GraphView, conv: OnnxNode): boolean {
  const { norm, name } = resultOf(view, conv);
  return norm !== undefined || view.onlyConsumer(name)?.op === 'LeakyRelu';
}

function folded(view: GraphView, found: EnlargedConvolution): Folding {
  const { pad, conv, weights, lie } = found;
  const [result = ''] = conv.outputs;
  const name = (part: string) => `${result}/fourfold/${part}`;
  const small = paddedSmall(found, name);
  const constants = new Map([...small.constants, [name('weights'), phases(weights, PHASES[lie])]]);
  const bias = view.constant(conv.inputs[2]);
  if (bias) constants.set(name('bias'), fourfold(bias));
  const inputs = [small.padded, name('weights'), ...(bias ? [name('bias')] : [])];
  return {
    constants,
    instead: [
      [pad, small.steps],
      [conv, [{ ...conv, inputs, outputs: [name('out')] }, sideBySide(name('out'), result)]],
    ],
  };
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
