// Normalisations as one scaling and one shift a channel, taken from the layer's means and mean squares: two readings of the
// layer and one writing, instead of the five to eight that converters write down. Pure.

import type { OnnxModel, OnnxNode } from '../../onnx/model-file.ts';
import { Builder, MICROSOFT } from '../builder.ts';
import { GraphView } from '../graph.ts';
import { type Norm, normBehind } from '../norms.ts';
import { channelMoments, layerMoments, type Moments, momentsAcross } from './moments.ts';

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
  const opsets = { ...model.opsets, [MICROSOFT]: 1 };
  return { ...model, opsets, nodes, constants: new Map([...model.constants, ...builder.constants]) };
}

function write(builder: Builder, layer: string, norm: Norm, opset: number): void {
  const point = (values: readonly number[]) => builder.float(values, [1, values.length, 1, 1]);
  const times = (one: string, other: string) => builder.node('Mul', [one, other]);
  const minus = (one: string, other: string) => builder.node('Sub', [one, other]);
  const deviation = ({ mean, square }: Moments) => {
    const variance = builder.node('Max', [minus(square, times(mean, mean)), builder.float(0)]);
    return builder.node('Sqrt', [builder.node('Add', [variance, builder.float(norm.epsilon)])]);
  };
  let [scale, shift] = ['', ''];
  if (norm.kind === 'lade') {
    const [own, other] = momentsAcross(builder, layer, norm.weights);
    scale = builder.node('Div', [deviation(other), deviation(own)]);
    // A bias moves the mean alone.
    const mean = builder.node('Add', [other.mean, point(norm.bias)]);
    shift = minus(mean, times(own.mean, scale));
  } else {
    const all =
      norm.kind === 'group'
        ? layerMoments(builder, layer, norm.gamma.length, opset)
        : channelMoments(builder, layer);
    scale = builder.node('Div', [point(norm.gamma), deviation(all)]);
    shift = minus(point(norm.beta), times(all.mean, scale));
  }
  const scaled = `${layer}${SCALED}`;
  builder.nodes.push(
    { op: 'Mul', domain: '', inputs: [layer, scale], outputs: [scaled], attributes: {} },
    { op: 'Add', domain: '', inputs: [scaled, shift], outputs: [norm.output], attributes: {} },
  );
}
