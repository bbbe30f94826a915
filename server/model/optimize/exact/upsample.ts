// "Enlarge twofold, pad by reflection, convolve 3×3" from the small picture. Linear enlarging is: each pixel four times, then
// a smoothing; and what convolves may as well come between the two. Of pixels that stand there four times, the convolution
// is four of 2×2 pixels, one for each of the pixels between four small ones: four ninths of the products, and the
// smoothing of each channel by itself costs next to nothing.
// Exact at the borders as well. From the corner: the enlarged picture mirrored at its first row is the small one mirrored
// there, and at its last row, where enlarging repeats the edge, it is the small one with its edge repeated. Half a pixel
// off: only within the outermost pixels, which are then put right (ring.ts). Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { enlargedConvolution, type Lie } from '../enlarged-convolution.ts';
import { GraphView, withoutDead } from '../graph.ts';
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
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = chainBehind(view, resize);
    if (!found) continue;
    for (const [node, nodes] of folded(found, constants)) instead.set(node, nodes);
  }
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

/** Which steps stand in a step's place. */
function folded(
  { resize, pad, conv, weights, lie }: NonNullable<ReturnType<typeof chainBehind>>,
  constants: Map<string, OnnxTensor>,
): [OnnxNode, OnnxNode[]][] {
  const name = (part: string) => `${conv.outputs[0]}/phases/${part}`;
  const constant = (part: string, tensor: OnnxTensor) => {
    constants.set(name(part), tensor);
    return name(part);
  };
  const step = (op: string, inputs: string[], output: string, attributes: OnnxNode['attributes']) => ({
    op,
    domain: '',
    inputs,
    outputs: [output],
    attributes,
  });
  const paddedBy = (mode: string, from: string, pads: readonly number[], to: string) => {
    const values = Float64Array.from(pads);
    const by = constant(`${mode}-pads`, { type: 'int64', dims: [pads.length], values });
    return step('Pad', [from, by], to, { mode: { string: mode } });
  };
  const small = resize.inputs[0] ?? '';
  const result = conv.outputs[0] ?? '';
  const channels = weights.dims[0] ?? 0;
  const pads =
    lie === 'corner'
      ? [
          paddedBy('reflect', small, [0, 0, 1, 1, 0, 0, 0, 0], name('mirrored')),
          paddedBy('edge', name('mirrored'), [0, 0, 0, 0, 0, 0, 1, 1], name('padded')),
        ]
      : [paddedBy('edge', small, [0, 0, 1, 1, 0, 0, 1, 1], name('padded'))];
  const convolved = {
    ...conv,
    inputs: [name('padded'), constant('weights', phases(weights))],
    outputs: [name('out')],
    attributes: { ...conv.attributes, kernel_shape: { ints: [2, 2] } },
  };
  const inOrder = step('DepthToSpace', [name('out')], name('rough'), {
    blocksize: { int: 2 },
    mode: { string: 'DCR' },
  });
  const [kernel, bias] = [constant('smoothing', smoothing(lie, channels)), conv.inputs[2]];
  const smooth = step(
    'Conv',
    [name('rough'), kernel, ...(bias ? [bias] : [])],
    lie === 'corner' ? result : name('inner'),
    { kernel_shape: { ints: [3, 3] }, group: { int: channels } },
  );
  if (lie === 'corner')
    return [
      [pad, pads],
      [conv, [convolved, inOrder, smooth]],
    ];
  const ring = withRing({ small, resize, pad, conv }, name('inner'), result);
  for (const [each, tensor] of ring.constants) constants.set(each, tensor);
  return [
    [pad, pads],
    [conv, [convolved, inOrder, smooth, ...ring.nodes]],
  ];
}

/** Such a chain with its activation, if there is one; undefined where its result leaves the graph. */
function chainBehind(view: GraphView, resize: OnnxNode) {
  const chain = enlargedConvolution(view, resize);
  if (!chain) return undefined;
  const next = view.onlyConsumer(chain.conv.outputs[0]);
  const last = next && ['LeakyRelu', 'Relu', 'Tanh', 'Sigmoid'].includes(next.op) ? next : chain.conv;
  return view.isOutput(last.outputs[0]) ? undefined : { resize, ...chain };
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
