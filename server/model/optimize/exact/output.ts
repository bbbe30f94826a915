// The last convolution makes three channels, and vector units compute sixteen (or eight) at a time. Taken two by two
// pixels it makes twelve at every second place: a stride of two, a kernel one larger, and a third of the work. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { GraphView, intOf, intsOf, stringOf } from '../graph.ts';

/** How the colours come out of a rewritten graph's last value. */
export type Planes =
  /** As the file itself gave them. */
  | { readonly kind: 'as-before'; readonly value: string }
  /** [1, 12, height/2, width/2]: channel (2·down + right)·3 + colour. */
  | { readonly kind: 'phases'; readonly value: string };

/** What may stand between the last convolution and the output: what changes each value by itself. */
const BY_VALUE = new Set(['Tanh', 'Sigmoid', 'Relu', 'LeakyRelu', 'Clip', 'HardSigmoid', 'Neg']);
const WITH_CONSTANT = new Set(['Add', 'Sub', 'Mul', 'Div', 'Min', 'Max']);

/** The graph with its last convolution taken two by two, where it has three channels and `even` allows it. */
export function withPhasedOutput(
  model: OnnxModel,
  layout: 'NHWC' | 'NCHW',
  even: boolean,
): { graph: OnnxModel; planes: Planes } {
  const output = model.outputs[0]?.name ?? '';
  const before = { graph: model, planes: { kind: 'as-before', value: output } } as const;
  const view = new GraphView(model);
  const end = lastPlanes(view, output, layout);
  const conv = end === undefined ? undefined : convBehind(view, end);
  const weights = view.constant(conv?.inputs[1]);
  if (!even || end === undefined || !conv || weights?.type !== 'float32' || !isPlain(conv, weights))
    return before;
  const name = (part: string) => `${conv.outputs[0]}/two-by-two/${part}`;
  const constants = new Map(model.constants);
  constants.set(name('weights'), twoByTwo(weights));
  const bias = view.constant(conv.inputs[2]);
  if (bias) {
    const values = new Float32Array(12);
    for (let phase = 0; phase < 4; phase++) values.set(bias.values, phase * 3);
    constants.set(name('bias'), { type: 'float32', dims: [12], values });
  }
  const kernel = (weights.dims[2] ?? 0) + 1;
  const instead: OnnxNode = {
    ...conv,
    inputs: [conv.inputs[0] ?? '', name('weights'), ...(bias ? [name('bias')] : [])],
    attributes: {
      ...conv.attributes,
      kernel_shape: { ints: [kernel, kernel] },
      strides: { ints: [2, 2] },
    },
  };
  const nodes = model.nodes.map((node) => (node === conv ? instead : node));
  return { graph: { ...model, nodes, constants }, planes: { kind: 'phases', value: end } };
}

/** The planes that become the output: itself, or what is only transposed into it. */
function lastPlanes(view: GraphView, output: string, layout: 'NHWC' | 'NCHW'): string | undefined {
  if (layout === 'NCHW') return output;
  const last = view.producer(output);
  return last?.op === 'Transpose' && String(intsOf(last, 'perm')) === '0,2,3,1' ? last.inputs[0] : undefined;
}

/** The convolution that a value comes from, through steps that change each value by itself. */
function convBehind(view: GraphView, value: string): OnnxNode | undefined {
  let node = view.producer(value);
  while (node && node.op !== 'Conv') {
    const [first, ...others] = node.inputs;
    const scalar = others.every((name) => name === '' || view.constant(name)?.values.length === 1);
    if (!scalar || !(BY_VALUE.has(node.op) || WITH_CONSTANT.has(node.op))) return undefined;
    if (view.consumers(first).length !== 1) return undefined;
    node = view.producer(first);
  }
  return node && view.consumers(node.outputs[0]).length <= 1 ? node : undefined;
}

function isPlain(conv: OnnxNode, { dims }: OnnxTensor): boolean {
  const all = (name: string) => intsOf(conv, name).every((value) => value === 1);
  return (
    dims[0] === 3 &&
    dims[2] === dims[3] &&
    (dims[2] ?? 1) > 1 &&
    intOf(conv, 'group', 1) === 1 &&
    stringOf(conv, 'auto_pad', 'NOTSET') === 'NOTSET' &&
    all('strides') &&
    all('dilations')
  );
}

/** Twelve kernels of one more row and column: the three, at each of four places. */
function twoByTwo({ dims, values }: OnnxTensor): OnnxTensor {
  const [colours = 0, inputs = 0, side = 0] = dims;
  const wide = side + 1;
  const made = new Float32Array(4 * colours * inputs * wide * wide);
  for (let phase = 0; phase < 4; phase++) {
    const [down, right] = [phase >> 1, phase & 1];
    for (let kernel = 0; kernel < colours * inputs; kernel++) {
      for (let row = 0; row < side; row++) {
        const from = (kernel * side + row) * side;
        const to = ((phase * colours * inputs + kernel) * wide + row + down) * wide + right;
        for (let column = 0; column < side; column++) made[to + column] = values[from + column] ?? 0;
      }
    }
  }
  return { type: 'float32', dims: [4 * colours, inputs, wide, wide], values: made };
}
