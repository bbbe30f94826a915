// Normalisations as one scaling and one shift a channel, taken from the layer's means and mean squares: two readings of the
// layer and one writing, instead of the five to eight that converters write down. Pure.

import type { OnnxModel, OnnxNode } from '../../onnx/model-file.ts';
import { Builder } from '../builder.ts';
import { GraphView } from '../graph.ts';
import { type Norm, normBehind } from '../norms.ts';

/** How the value of a scaled layer ends, by which the rewrite for blocks finds it again. */
export const SCALED = '/scaled';

/** The graph with its normalisations written as scale and shift. */
export function withAffineNorms(model: OnnxModel): OnnxModel {
  const view = new GraphView(model);
  const builder = new Builder('norms');
  const gone = new Set<OnnxNode>();
  const behind = new Map<OnnxNode, readonly OnnxNode[]>();
  for (const conv of model.nodes) {
    const norm = conv.op === 'Conv' && !gone.has(conv) ? normBehind(view, conv) : undefined;
    if (!norm) continue;
    const from = builder.nodes.length;
    write(builder, conv.outputs[0] ?? '', norm, model.opsets[''] ?? 0);
    behind.set(conv, builder.nodes.slice(from));
    for (const node of norm.nodes) gone.add(node);
  }
  const nodes = model.nodes
    .filter((node) => !gone.has(node))
    .flatMap((node) => [node, ...(behind.get(node) ?? [])]);
  return { ...model, nodes, constants: new Map([...model.constants, ...builder.constants]) };
}

function write(builder: Builder, layer: string, norm: Norm, opset: number): void {
  const point = (values: readonly number[]) => builder.float(values, [1, values.length, 1, 1]);
  const times = (one: string, other: string) => builder.node('Mul', [one, other]);
  const minus = (one: string, other: string) => builder.node('Sub', [one, other]);
  const deviation = ({ mean, square }: Moments) => {
    const variance = builder.node('Max', [minus(square, times(mean, mean)), builder.float(0)]);
    return builder.node('Sqrt', [builder.node('Add', [variance, builder.float(norm.epsilon)])]);
  };
  const own = moments(builder, layer);
  let [scale, shift] = ['', ''];
  if (norm.kind === 'lade') {
    const bias = builder.float(norm.bias);
    const other = moments(builder, builder.node('Conv', [layer, builder.tensor(norm.weights), bias]));
    scale = builder.node('Div', [deviation(other), deviation(own)]);
    shift = minus(other.mean, times(own.mean, scale));
  } else {
    const all = norm.kind === 'group' ? overChannels(builder, own, opset) : own;
    scale = builder.node('Div', [point(norm.gamma), deviation(all)]);
    shift = minus(point(norm.beta), times(all.mean, scale));
  }
  const scaled = `${layer}${SCALED}`;
  builder.nodes.push(
    { op: 'Mul', domain: '', inputs: [layer, scale], outputs: [scaled], attributes: {} },
    { op: 'Add', domain: '', inputs: [scaled, shift], outputs: [norm.output], attributes: {} },
  );
}

interface Moments {
  readonly mean: string;
  readonly square: string;
}

function moments(builder: Builder, layer: string): Moments {
  const mean = builder.node('GlobalAveragePool', [layer]);
  const square = builder.node('GlobalAveragePool', [builder.node('Mul', [layer, layer])]);
  return { mean, square };
}

function overChannels(builder: Builder, { mean, square }: Moments, opset: number): Moments {
  const over = (value: string) => builder.mean(value, [1], opset);
  return { mean: over(mean), square: over(square) };
}
