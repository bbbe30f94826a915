// "Enlarge twofold, pad by reflection, convolve 3×3" as one convolution of the small picture: each of the four outputs
// that a small pixel becomes (its phases) is a 3×3 convolution of its own, since linear enlarging is a convolution too.
// Exact at the borders as well. From the corner: the enlarged picture mirrored at its first row is the small one mirrored
// there, and at its last row, where enlarging repeats the edge, it is the small one with its edge repeated. Half a pixel
// off: only within the outermost pixels, which are then put right (ring.ts). Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { GraphView, intOf, intsOf, stringOf, withoutDead } from '../graph.ts';
import { withRing } from './ring.ts';

/**
 * What a pixel of enlarged rows takes of the small row's pixels before, at and after it, a row for each tap of a convolution;
 * for even pixels, and for odd ones.
 */
type Phases = readonly [even: Taps, odd: Taps];
type Taps = readonly (readonly [before: number, at: number, after: number])[];

/** By where the large pixels lie. */
const PHASES: Readonly<Record<'corner' | 'half-pixel', Phases>> = {
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

/** The graph with every enlarging that can be folded into the convolution behind it folded. */
export function withoutUpsampling(model: OnnxModel): OnnxModel {
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = chainBehind(view, resize);
    if (!found) continue;
    const { conv, weights, lie } = found;
    constants.set(part(conv, 'weights'), phases(weights, PHASES[lie]));
    const bias = view.constant(conv.inputs[2]);
    if (bias) constants.set(part(conv, 'bias'), fourfold(bias));
    const fold = lie === 'corner' ? fromCorner : fromHalfPixel;
    for (const [node, nodes] of fold(found, constants)) instead.set(node, nodes);
  }
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

type Chain = NonNullable<ReturnType<typeof chainBehind>>;
type Constants = Map<string, OnnxTensor>;

/** A value's name that belongs to a convolution that was folded. */
const part = (conv: OnnxNode, name: string) => `${conv.outputs[0]}/phases/${name}`;

/** Which steps stand in a step's place. The activation moves before the pixels are put in order: it may be fused there. */
function fromCorner({ resize, pad, conv, last }: Chain, constants: Constants): [OnnxNode, OnnxNode[]][] {
  const [mirrored, padded, out] = [part(conv, 'mirrored'), part(conv, 'padded'), part(conv, 'out')];
  const result = last.outputs[0] ?? '';
  const convolved = phased(conv, padded, last === conv ? out : (conv.outputs[0] ?? ''), constants);
  const pads = [
    paddedBy('reflect', resize.inputs[0] ?? '', [0, 0, 1, 1, 0, 0, 0, 0], mirrored, constants),
    paddedBy('edge', mirrored, [0, 0, 0, 0, 0, 0, 1, 1], padded, constants),
  ];
  if (last === conv)
    return [
      [pad, pads],
      [conv, [convolved, inOrder(out, result)]],
    ];
  return [
    [pad, pads],
    [conv, [convolved]],
    [last, [{ ...last, outputs: [out] }, inOrder(out, result)]],
  ];
}

/** The activation stays: it has to see what was put right. */
function fromHalfPixel(
  { resize, pad, conv, weights }: Chain,
  constants: Constants,
): [OnnxNode, OnnxNode[]][] {
  const [padded, out, inner] = [part(conv, 'padded'), part(conv, 'out'), part(conv, 'inner')];
  const small = resize.inputs[0] ?? '';
  const channels = weights.dims[0] ?? 0;
  const ring = withRing({ small, resize, pad, conv, channels }, inner, conv.outputs[0] ?? '');
  for (const [name, tensor] of ring.constants) constants.set(name, tensor);
  return [
    [pad, [paddedBy('edge', small, [0, 0, 1, 1, 0, 0, 1, 1], padded, constants)]],
    [conv, [phased(conv, padded, out, constants), inOrder(out, inner), ...ring.nodes]],
  ];
}

function paddedBy(
  mode: string,
  from: string,
  pads: readonly number[],
  to: string,
  constants: Constants,
): OnnxNode {
  const values = Float64Array.from(pads);
  constants.set(`${to}/pads`, { type: 'int64', dims: [pads.length], values });
  return step('Pad', [from, `${to}/pads`], to, { mode: { string: mode } });
}

const phased = (conv: OnnxNode, from: string, to: string, constants: Constants): OnnxNode => ({
  ...conv,
  inputs: [from, ...[part(conv, 'weights'), part(conv, 'bias')].filter((name) => constants.has(name))],
  outputs: [to],
});

const inOrder = (from: string, to: string) =>
  step('DepthToSpace', [from], to, { blocksize: { int: 2 }, mode: { string: 'DCR' } });

const step = (
  op: string,
  inputs: string[],
  output: string,
  attributes: OnnxNode['attributes'],
): OnnxNode => ({
  op,
  domain: '',
  inputs,
  outputs: [output],
  attributes,
});

/** Enlarging, padding, convolution, and an activation if there is one; undefined when it is not just that. */
function chainBehind(view: GraphView, resize: OnnxNode) {
  const lie = resize.op === 'Resize' ? lieOf(resize) : undefined;
  if (!lie || !isTwofold(view, resize)) return undefined;
  const pad = view.onlyConsumer(resize.outputs[0]);
  const pads = pad?.op === 'Pad' ? view.constant(pad.inputs[1]) : undefined;
  if (!pad || stringOf(pad, 'mode', 'constant') !== 'reflect') return undefined;
  if (String(pads?.values) !== '0,0,1,1,0,0,1,1') return undefined;
  const conv = view.onlyConsumer(pad.outputs[0]);
  const weights = view.constant(conv?.inputs[1]);
  if (conv?.op !== 'Conv' || weights?.type !== 'float32' || !isPlain3x3(conv, weights)) return undefined;
  const next = view.onlyConsumer(conv.outputs[0]);
  const last = next && ['LeakyRelu', 'Relu', 'Tanh', 'Sigmoid'].includes(next.op) ? next : conv;
  return view.isOutput(last.outputs[0]) ? undefined : { resize, pad, conv, last, weights, lie };
}

/** Where the large pixels of a linear enlarging lie; undefined for another one. */
function lieOf(resize: OnnxNode): keyof typeof PHASES | undefined {
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

/** The four phases' kernels, one phase behind the other along the outputs, as DepthToSpace takes them. */
function phases({ dims, values }: OnnxTensor, taps: Phases): OnnxTensor {
  const kernels = (dims[0] ?? 0) * (dims[1] ?? 0);
  const made = new Float32Array(kernels * 9 * 4);
  for (let phase = 0; phase < 4; phase++) {
    const [down, right] = [taps[phase >> 1] ?? [], taps[phase & 1] ?? []];
    for (let kernel = 0; kernel < kernels; kernel++) {
      for (let at = 0; at < 9; at++) {
        let sum = 0;
        for (let tap = 0; tap < 9; tap++) {
          const rows = down[Math.floor(tap / 3)]?.[Math.floor(at / 3)] ?? 0;
          const columns = right[tap % 3]?.[at % 3] ?? 0;
          sum += (values[kernel * 9 + tap] ?? 0) * rows * columns;
        }
        made[(phase * kernels + kernel) * 9 + at] = sum;
      }
    }
  }
  return { type: 'float32', dims: [4 * (dims[0] ?? 0), ...dims.slice(1)], values: made };
}

function fourfold({ dims, values }: OnnxTensor): OnnxTensor {
  const made = new Float32Array(values.length * 4);
  for (let phase = 0; phase < 4; phase++) made.set(values, phase * values.length);
  return { type: 'float32', dims: [4 * (dims[0] ?? 0)], values: made };
}
