// Recognises what normalises a convolution's result: the glue of a dozen nodes that converters write for one layer.
// By its parts only; whether the guess is right is proven later by running both graphs. Pure.

import type { OnnxNode, OnnxTensor } from '../onnx/model-file.ts';
import { floatOf, type GraphView, intOf } from './graph.ts';

/** A normalisation of a convolution's result, which is affine in each channel once its statistics are known. */
export type Norm =
  | {
      /** One mean and one variance over all channels (`group`), or one for each (`instance`). */
      readonly kind: 'group' | 'instance';
      readonly gamma: readonly number[];
      readonly beta: readonly number[];
      readonly epsilon: number;
      readonly nodes: ReadonlySet<OnnxNode>;
      readonly output: string;
    }
  | {
      /** AnimeGANv3's LADE: deviation and mean are those of a 1×1 convolution of the same result. */
      readonly kind: 'lade';
      readonly weights: OnnxTensor;
      readonly bias: readonly number[];
      readonly epsilon: number;
      readonly nodes: ReadonlySet<OnnxNode>;
      readonly output: string;
    };

/** The normalisation behind a convolution; undefined when there is none that is known. */
export function normBehind(view: GraphView, conv: OnnxNode): Norm | undefined {
  const channels = view.constant(conv.inputs[1])?.dims[0];
  const result = conv.outputs[0];
  return channels === undefined || result === undefined ? undefined : normOf(view, result, channels);
}

/** The normalisation of a value of so many channels; undefined when there is none that is known. */
export function normOf(view: GraphView, value: string, channels: number): Norm | undefined {
  if (view.isOutput(value)) return undefined;
  return groupNorm(view, value, channels) ?? lade(view, value, channels);
}

/** (Reshape →) InstanceNormalization (→ Reshape) (→ Mul → Add), or GroupNormalization with one group. */
function groupNorm(view: GraphView, result: string, channels: number): Norm | undefined {
  const users = view.consumers(result).filter(({ op }) => op !== 'Shape');
  const [first, ...more] = users;
  if (!first || more.length > 0) return undefined;
  const nodes = new Set<OnnxNode>();
  if (first.op === 'GroupNormalization') {
    if (intOf(first, 'num_groups', 0) !== 1) return undefined;
    return finish(view, first, 'group', { channels, nodes, scale: first.inputs[1], shift: first.inputs[2] });
  }
  const reshaped = first.op === 'Reshape';
  const norm = reshaped ? view.onlyConsumer(first.outputs[0]) : first;
  if (norm?.op !== 'InstanceNormalization') return undefined;
  // Reshaped to one row, all channels share their statistics.
  const groups = view.constant(norm.inputs[1])?.dims[0];
  if (reshaped && groups !== 1) return undefined;
  if (!reshaped) {
    return finish(view, norm, 'instance', { channels, nodes, scale: norm.inputs[1], shift: norm.inputs[2] });
  }
  nodes.add(first);
  nodes.add(norm);
  const back = view.onlyConsumer(norm.outputs[0]);
  if (back?.op !== 'Reshape' || !isOne(view, norm.inputs[1], 1) || !isOne(view, norm.inputs[2], 0))
    return undefined;
  return finish(view, back, 'group', { channels, nodes, epsilon: floatOf(norm, 'epsilon', 1e-5) });
}

function isOne(view: GraphView, name: string | undefined, value: number): boolean {
  const constant = view.constant(name);
  return constant?.values.length === 1 && constant.values[0] === value;
}

interface Found {
  readonly channels: number;
  readonly nodes: Set<OnnxNode>;
  readonly scale?: string | undefined;
  readonly shift?: string | undefined;
  readonly epsilon?: number;
}

/** Takes the Mul and the Add behind a normalisation in, when they are its own affine part. */
function finish(view: GraphView, last: OnnxNode, kind: 'group' | 'instance', found: Found): Norm | undefined {
  const { channels, nodes } = found;
  nodes.add(last);
  let gamma = perChannel(view, found.scale, channels) ?? Array<number>(channels).fill(1);
  let beta = perChannel(view, found.shift, channels) ?? Array<number>(channels).fill(0);
  let output = last.outputs[0] ?? '';
  const take = (op: string): readonly number[] | undefined => {
    const next = view.onlyConsumer(output);
    if (next?.op !== op) return undefined;
    const values = next.inputs.map((name) => perChannel(view, name, channels)).find((each) => each);
    if (!values) return undefined;
    nodes.add(next);
    output = next.outputs[0] ?? '';
    return values;
  };
  const scale = take('Mul');
  if (scale) {
    gamma = gamma.map((value, c) => value * (scale[c] ?? 1));
    beta = beta.map((value, c) => value * (scale[c] ?? 1));
  }
  const shift = take('Add');
  if (shift) beta = beta.map((value, c) => value + (shift[c] ?? 0));
  return { kind, gamma, beta, epsilon: found.epsilon ?? floatOf(last, 'epsilon', 1e-5), nodes, output };
}

/** A constant with one value, or one for each channel. */
function perChannel(view: GraphView, name: string | undefined, channels: number): number[] | undefined {
  const constant = view.constant(name);
  if (constant?.type !== 'float32') return undefined;
  if (constant.values.length === channels) return [...constant.values];
  if (constant.values.length === 1) return Array<number>(channels).fill(constant.values[0] ?? 0);
  return undefined;
}

/** What LADE is written down with. */
const LADE_OPS = new Set([
  'GlobalAveragePool',
  'ReduceMean',
  'Sub',
  'Mul',
  'Add',
  'Sqrt',
  'Reciprocal',
  'Div',
  'Reshape',
  'Transpose',
  'Pad',
  'Conv',
]);

/** All ways from the result lead through LADE's operators to one activation, past one 1×1 convolution of the result. */
function lade(view: GraphView, result: string, channels: number): Norm | undefined {
  const nodes = new Set<OnnxNode>();
  const ends = new Set<OnnxNode>();
  const waiting = [...view.consumers(result)];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (nodes.has(node) || ends.has(node)) continue;
    if (node.op === 'LeakyRelu' || node.op === 'Relu') {
      ends.add(node);
      continue;
    }
    if (!LADE_OPS.has(node.op) || nodes.size > 40) return undefined;
    nodes.add(node);
    waiting.push(...node.outputs.flatMap((output) => view.consumers(output)));
  }
  const [end, ...more] = ends;
  const convs = [...nodes].filter(({ op }) => op === 'Conv');
  const [conv] = convs;
  if (!end || more.length > 0 || !conv || convs.length > 1) return undefined;
  if ([...nodes].filter(({ op }) => op === 'Sqrt').length !== 2) return undefined;
  const inside = new Set([result, ...[...nodes].flatMap(({ outputs }) => outputs)]);
  const foreign = [...nodes].some((node) =>
    node.inputs.some((input) => input !== '' && !inside.has(input) && !view.constant(input)),
  );
  const weights = view.constant(conv.inputs[1]);
  const output = end.inputs[0] ?? '';
  if (foreign || !inside.has(output) || output === result || !weights) return undefined;
  if (weights.dims.join() !== [channels, channels, 1, 1].join()) return undefined;
  const epsilons = [...nodes].flatMap((node) =>
    node.op === 'Add' ? node.inputs.map((name) => view.constant(name)?.values) : [],
  );
  const epsilon = epsilons.find((values) => values?.length === 1)?.[0] ?? 0;
  const bias = perChannel(view, conv.inputs[2], channels) ?? Array<number>(channels).fill(0);
  return { kind: 'lade', weights, bias, epsilon, nodes, output };
}
