// "Enlarge twofold, pad by reflection, convolve 3×3" as one convolution of the small picture: each of the four outputs
// that a small pixel becomes (its phases) is a 3×3 convolution of its own, since linear enlarging is a convolution too.
// Exact at the borders as well: the enlarged picture mirrored at its first row is the small one mirrored there, and at its
// last row, where enlarging repeats the edge, it is the small one with its edge repeated. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { GraphView, intOf, intsOf, stringOf, withoutDead } from '../graph.ts';

/** One pixel of enlarged rows, by what it takes of the small row's pixels before, at and after it; a row for each tap. */
const PHASES: readonly (readonly (readonly number[])[])[] = [
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
];

/** The graph with every enlarging that can be folded into the convolution behind it folded. */
export function withoutUpsampling(model: OnnxModel): OnnxModel {
  const view = new GraphView(model);
  const instead = new Map<OnnxNode, readonly OnnxNode[]>();
  const constants = new Map(model.constants);
  for (const resize of model.nodes) {
    const found = chainBehind(view, resize);
    if (!found) continue;
    const { pad, conv, last, weights } = found;
    const name = (part: string) => `${conv.outputs[0]}/phases/${part}`;
    const small = resize.inputs[0] ?? '';
    constants.set(name('weights'), phases(weights));
    constants.set(name('before'), paddings([0, 0, 1, 1, 0, 0, 0, 0]));
    constants.set(name('behind'), paddings([0, 0, 0, 0, 0, 0, 1, 1]));
    const bias = view.constant(conv.inputs[2]);
    if (bias) constants.set(name('bias'), fourfold(bias));
    const step = (op: string, inputs: string[], output: string, attributes: OnnxNode['attributes']) => ({
      op,
      domain: '',
      inputs,
      outputs: [output],
      attributes,
    });
    const result = last.outputs[0] ?? '';
    const convolved = last === conv ? name('out') : (conv.outputs[0] ?? '');
    instead.set(pad, [
      step('Pad', [small, name('before')], name('mirrored'), { mode: { string: 'reflect' } }),
      step('Pad', [name('mirrored'), name('behind')], name('padded'), { mode: { string: 'edge' } }),
    ]);
    const apart = step('DepthToSpace', [name('out')], result, {
      blocksize: { int: 2 },
      mode: { string: 'DCR' },
    });
    const inputs = [name('padded'), name('weights'), ...(bias ? [name('bias')] : [])];
    instead.set(conv, [{ ...conv, inputs, outputs: [convolved] }, ...(last === conv ? [apart] : [])]);
    if (last !== conv) instead.set(last, [{ ...last, outputs: [name('out')] }, apart]);
  }
  const nodes = model.nodes.flatMap((node) => instead.get(node) ?? [node]);
  return withoutDead({ ...model, nodes, constants });
}

/** Enlarging, padding, convolution, and an activation if there is one; undefined when it is not just that. */
function chainBehind(view: GraphView, resize: OnnxNode) {
  if (resize.op !== 'Resize' || !isTwofold(view, resize)) return undefined;
  const pad = view.onlyConsumer(resize.outputs[0]);
  const pads = pad?.op === 'Pad' ? view.constant(pad.inputs[1]) : undefined;
  if (!pad || stringOf(pad, 'mode', 'constant') !== 'reflect') return undefined;
  if (String(pads?.values) !== '0,0,1,1,0,0,1,1') return undefined;
  const conv = view.onlyConsumer(pad.outputs[0]);
  const weights = view.constant(conv?.inputs[1]);
  if (conv?.op !== 'Conv' || weights?.type !== 'float32' || !isPlain3x3(conv, weights)) return undefined;
  const next = view.onlyConsumer(conv.outputs[0]);
  const last = next && ['LeakyRelu', 'Relu', 'Tanh', 'Sigmoid'].includes(next.op) ? next : conv;
  return view.isOutput(last.outputs[0]) ? undefined : { pad, conv, last, weights };
}

/** Linear, from the top left corner. That it is twofold shows in the scales, or where sizes are computed, in the product. */
function isTwofold(view: GraphView, resize: OnnxNode): boolean {
  if (stringOf(resize, 'mode', 'nearest') !== 'linear') return false;
  if (stringOf(resize, 'coordinate_transformation_mode', 'half_pixel') !== 'asymmetric') return false;
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
function phases({ dims, values }: OnnxTensor): OnnxTensor {
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
          const rows = PHASES[down ?? 0]?.[Math.floor(tap / 3)]?.[Math.floor(at / 3)] ?? 0;
          const columns = PHASES[right ?? 0]?.[tap % 3]?.[at % 3] ?? 0;
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

const paddings = (values: readonly number[]): OnnxTensor => ({
  type: 'int64',
  dims: [values.length],
  values: Float64Array.from(values),
});
