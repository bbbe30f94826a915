// "Enlarge twofold, pad by reflection, convolve 3×3" from the small picture. Linear enlarging is: each pixel four times, then
// a smoothing; and what convolves may as well come between the two. Of pixels that stand there four times, the convolution
// is four of 2×2 pixels, one for each of the pixels between four small ones: four ninths of the products, and the
// smoothing of each channel by itself costs next to nothing.
// Exact at the borders as well from the corner; half a pixel off only within the outermost pixels, which are then put right
// (ring.ts). Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import {
  type EnlargedConvolution,
  type Folding,
  type Lie,
  paddedSmall,
  sideBySide,
  withEnlargedFolded,
} from '../enlarged-convolution.ts';
import { type GraphView, withoutDead } from '../graph.ts';
import { withRing } from './ring.ts';

/** How pixels that stand there twice are smoothed in each direction, by where the large pixels lie. */
const SMOOTHING = { corner: [0, 0.5, 0.5], 'half-pixel': [0.25, 0.5, 0.25] } as const;

/** Of the two large pixels between two small ones: which of these each tap of a convolution around it meets. */
const MEETS = [
  [0, 0, 1],
  [0, 1, 1],
] as const;

/** The graph with every enlarging that can be folded into the convolution behind it folded. */
export function withoutUpsampling(model: OnnxModel): OnnxModel {
  const graph = withEnlargedFolded(model, (view, found) =>
    leavesTheGraph(view, found.conv) ? undefined : folded(found),
  );
  // What the rewrites before this one left unused goes too, or it would stand in the way of the next.
  return withoutDead(graph);
}

/** Whether a convolution's result, or that behind its activation, is what the graph gives. */
function leavesTheGraph(view: GraphView, conv: OnnxNode): boolean {
  const next = view.onlyConsumer(conv.outputs[0]);
  const last = next && ['LeakyRelu', 'Relu', 'Tanh', 'Sigmoid'].includes(next.op) ? next : conv;
  return view.isOutput(last.outputs[0]);
}

function folded(found: EnlargedConvolution): Folding {
  const { resize, pad, conv, weights, lie } = found;
  const [result = ''] = conv.outputs;
  const channels = weights.dims[0] ?? 0;
  const name = (part: string) => `${result}/phases/${part}`;
  const small = paddedSmall(found, name);
  const convolved = {
    ...conv,
    inputs: [small.padded, name('weights')],
    outputs: [name('out')],
    attributes: { ...conv.attributes, kernel_shape: { ints: [2, 2] } },
  };
  const bias = conv.inputs[2];
  const smooth = {
    op: 'Conv',
    domain: '',
    inputs: [name('rough'), name('smoothing'), ...(bias ? [bias] : [])],
    outputs: [lie === 'corner' ? result : name('inner')],
    attributes: { kernel_shape: { ints: [3, 3] }, group: { int: channels } },
  };
  const ring =
    lie === 'corner'
      ? undefined
      : withRing({ small: resize.inputs[0] ?? '', resize, pad, conv }, name('inner'), result);
  return {
    constants: new Map([
      ...small.constants,
      [name('weights'), phases(weights)],
      [name('smoothing'), smoothing(lie, channels)],
      ...(ring?.constants ?? []),
    ]),
    instead: [
      [pad, small.steps],
      [conv, [convolved, sideBySide(name('out'), name('rough')), smooth, ...(ring?.nodes ?? [])]],
    ],
  };
}

/** The kernels of the four pixels between four small ones, one pixel behind the other along the outputs, as DepthToSpace takes them. */
function phases({ dims, values }: OnnxTensor): OnnxTensor {
  const [outputs = 0, inputs = 0] = dims;
  const kernels = outputs * inputs;
  const made = new Float32Array(kernels * 4 * 4);
  for (let phase = 0; phase < 4; phase++) {
    const [down, right] = [MEETS[phase < 2 ? 0 : 1], MEETS[phase % 2 === 0 ? 0 : 1]];
    for (let kernel = 0; kernel < kernels; kernel++) {
      const at = (phase * kernels + kernel) * 4;
      for (let tap = 0; tap < 9; tap++) {
        const met = at + 2 * (down[Math.floor(tap / 3)] ?? 0) + (right[tap % 3] ?? 0);
        made[met] = (made[met] ?? 0) + (values[kernel * 9 + tap] ?? 0);
      }
    }
  }
  return { type: 'float32', dims: [4 * outputs, inputs, 2, 2], values: made };
}

function smoothing(lie: Lie, channels: number): OnnxTensor {
  const line = SMOOTHING[lie];
  const kernel = line.flatMap((down) => line.map((right) => down * right));
  const values = Float32Array.from({ length: 9 * channels }, (_, at) => kernel[at % 9] ?? 0);
  return { type: 'float32', dims: [channels, 1, 3, 3], values };
}
