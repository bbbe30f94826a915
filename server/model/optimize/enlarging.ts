// "Enlarge twofold, pad by reflection, convolve 3×3, normalise" as one convolution of the small picture with four times the
// channels, which are put side by side at the end: bytes are not rounded once more by enlarging, which in ONNX Runtime cuts
// their fractions off, and the large picture is not passed over for it. Enlarging from half pixels has no exact counterpart
// at the border: the outermost row takes itself where reflection would take a quarter of the next one. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../onnx/model-file.ts';
import { type EnlargedConvolution, enlargedConvolution } from './enlarged-convolution.ts';
import { GraphView, withoutDead } from './graph.ts';
import { type Norm, normBehind } from './norms.ts';

/** One pixel of enlarged rows, by what it takes of the small row's pixels before, at and after it; a row for each tap. */
const HALF_PIXEL_PHASES: readonly (readonly (readonly number[])[])[] = [
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
];

/** The graph with every such enlarging folded; the model itself where there is none. */
export function withEnlargingFolded(model: OnnxModel): OnnxModel {
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = chainBehind(view, resize);
    if (!found) continue;
    const { pad, conv, weights, norm, last } = found;
    const name = (part: string) => `${conv.outputs[0]}/fourfold/${part}`;
    constants.set(name('pads'), paddings([0, 0, 1, 1, 0, 0, 1, 1]));
    constants.set(name('weights'), phases(weights, HALF_PIXEL_PHASES));
    const padded = { ...pad, inputs: [resize.inputs[0] ?? '', name('pads')], outputs: [name('padded')] };
    instead.set(pad, [{ ...padded, attributes: { mode: { string: 'edge' } } }]);
    instead.set(conv, [{ ...conv, inputs: [name('padded'), name('weights')] }]);
    for (const node of norm.nodes) {
      const inputs = node.inputs.map((input, at) => {
        const own = view.constant(input);
        if (!own || own.values.length !== weights.dims[0] || !isAffine(node)) return input;
        constants.set(name(`${node.outputs[0]}-${at}`), fourfold(own));
        return name(`${node.outputs[0]}-${at}`);
      });
      instead.set(node, [{ ...node, inputs }]);
    }
    const result = last.outputs[0] ?? '';
    const whole = instead.get(last)?.[0] ?? last;
    instead.set(last, [
      { ...whole, outputs: [name('out')] },
      {
        op: 'DepthToSpace',
        domain: '',
        inputs: [name('out')],
        outputs: [result],
        attributes: { blocksize: { int: 2 }, mode: { string: 'DCR' } },
      },
    ]);
  }
  if (instead.size === 0) return model;
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

const isAffine = ({ op }: OnnxNode) => op === 'Mul' || op === 'Add';

interface Chain extends EnlargedConvolution {
  readonly norm: Norm;
  /** The activation. */
  readonly last: OnnxNode;
}

/** Enlarging, padding, convolution without a bias, one norm over all channels, and an activation; else undefined. */
function chainBehind(view: GraphView, resize: OnnxNode): Chain | undefined {
  const chain = enlargedConvolution(view, resize);
  if (chain?.lie !== 'half-pixel' || (chain.conv.inputs[2] ?? '') !== '') return undefined;
  const norm = normBehind(view, chain.conv);
  const last = view.onlyConsumer(norm?.output);
  // Norms of each channel would have to see its four phases as one, and GroupNormalization's own factors are not unfolded.
  const simple = norm?.kind === 'group' && ![...norm.nodes].some(({ op }) => op === 'GroupNormalization');
  if (!norm || !simple || last?.op !== 'LeakyRelu' || view.isOutput(last.outputs[0])) return undefined;
  return { ...chain, norm, last };
}

/**
 * The four phases' kernels, one phase behind the other along the outputs, as DepthToSpace takes them.
 * @param along For both phases of a row: what each tap of the kernel takes of the small row's three pixels.
 */
function phases(
  { dims, values }: OnnxTensor,
  along: readonly (readonly (readonly number[])[])[],
): OnnxTensor {
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

const paddings = (values: readonly number[]): OnnxTensor => ({
  type: 'int64',
  dims: [values.length],
  values: Float64Array.from(values),
});
