// Brings the channels of a value nearer to one range, without changing what the network draws: all channels of a picture-like
// value share 256 levels, so one loud channel leaves the quiet ones a few. What a norm's factor and shift take from a
// channel, the weights behind it give back. Between them only stands what a positive factor passes through: LeakyRelu,
// reflecting Pad, Resize and sums, whose values therefore share their factors. (Cross-layer equalisation, Nagel et al. 2019,
// with the balance between values and weights of SmoothQuant, Xiao et al. 2022.) Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { GraphView, intOf, stringOf } from '../graph.ts';
import { type Norm, normBehind } from '../norms.ts';
import type { Observed } from './observation.ts';

/** A channel that calibration hardly saw may be loud in another picture: it is taken to be at least so loud. */
const QUIETEST = 1 / 16;

/** Values that have to share their factors, who makes them, and who uses them. */
interface Family {
  readonly values: Set<string>;
  readonly norms: Norm[];
  readonly convolutions: OnnxNode[];
  /** Somebody makes or uses one of the values who cannot take a factor. */
  fixed: boolean;
}

/** The same network with its channels nearer to one range; the model itself where nothing can be done. */
export function equalised(model: OnnxModel, observed: ReadonlyMap<string, Observed>): OnnxModel {
  const view = new GraphView(model);
  const edits = new Edits(model);
  for (const family of familiesOf(view)) {
    const factors = family.fixed ? undefined : factorsOf(view, family, observed);
    if (!factors) continue;
    for (const norm of family.norms) {
      for (const node of affineOf(view, norm))
        edits.change(node, view.constant(node.inputs[0]) ? 0 : 1, (own) => byChannel(own, factors));
    }
    for (const conv of family.convolutions) {
      edits.change(conv, 1, (weights) => withInputs(weights, factors, intOf(conv, 'group', 1)));
    }
  }
  return edits.model();
}

function familiesOf(view: GraphView): Set<Family> {
  const byValue = new Map<string, Family>();
  const of = (value: string): Family => {
    const known = byValue.get(value);
    if (known) return known;
    const family: Family = { values: new Set([value]), norms: [], convolutions: [], fixed: false };
    byValue.set(value, family);
    return family;
  };
  const join = (one: string, other: string) => {
    const [into, from] = [of(one), of(other)];
    if (into === from) return;
    for (const value of from.values) byValue.set(value, into.values.add(value) && into);
    into.norms.push(...from.norms);
    into.convolutions.push(...from.convolutions);
    into.fixed ||= from.fixed;
  };
  const fix = (...values: readonly string[]) => {
    for (const value of values) of(value).fixed = true;
  };
  const { model } = view;
  fix(...[...model.inputs, ...model.outputs].map(({ name }) => name));
  const inNorms = new Set<OnnxNode>();
  for (const node of model.nodes) {
    const [input = '', other = ''] = node.inputs;
    const [output = ''] = node.outputs;
    if (inNorms.has(node) || node.op === 'Shape') continue;
    if (node.op === 'Conv') {
      const norm = normBehind(view, node);
      for (const each of norm?.nodes ?? []) inNorms.add(each);
      if (norm && affineOf(view, norm).length > 0) of(norm.output).norms.push(norm);
      else fix(norm?.output ?? output);
      if (takesFactors(view, node)) of(input).convolutions.push(node);
      else fix(input);
    } else if (passesFactors(node)) {
      join(input, output);
    } else if (node.op === 'Add' && !view.constant(input) && !view.constant(other)) {
      join(input, output);
      join(other, output);
    } else {
      fix(...node.inputs, ...node.outputs);
    }
  }
  return new Set(byValue.values());
}

/** The Mul and the Add that end a norm; none where it has no such factor, or LADE's statistics in its place. */
function affineOf(view: GraphView, norm: Norm): OnnxNode[] {
  if (norm.kind === 'lade') return [];
  const last = [...norm.nodes].filter(
    ({ op, inputs }) => (op === 'Mul' || op === 'Add') && inputs.some((name) => view.constant(name)),
  );
  return last.some(({ op }) => op === 'Mul') ? last : [];
}

function takesFactors(view: GraphView, conv: OnnxNode): boolean {
  const weights = view.constant(conv.inputs[1]);
  return weights !== undefined && (intOf(conv, 'group', 1) === 1 || weights.dims[1] === 1);
}

function passesFactors(node: OnnxNode): boolean {
  if (node.op === 'Pad') return stringOf(node, 'mode', 'constant') !== 'constant';
  return ['LeakyRelu', 'Relu', 'Resize'].includes(node.op);
}

/** What each channel is divided by: half of the difference, as far as decibels go, is left to the weights. */
function factorsOf(
  view: GraphView,
  { values, norms, convolutions }: Family,
  observed: ReadonlyMap<string, Observed>,
): number[] | undefined {
  const seen = [...values].flatMap((value) => observed.get(value) ?? []);
  const channels = seen[0]?.channels.length ?? 0;
  if (norms.length === 0 || convolutions.length === 0 || channels === 0) return undefined;
  const peaks = Array.from({ length: channels }, (_, c) =>
    Math.max(...seen.map((each) => each.channels[c]?.peak ?? 0)),
  );
  const least = Math.max(1e-6, Math.max(...peaks) * QUIETEST);
  const weights = Array<number>(channels).fill(1e-6);
  for (const conv of convolutions.filter((each) => intOf(each, 'group', 1) === 1)) {
    const { dims, values: own } = view.constant(conv.inputs[1]) as OnnxTensor;
    const taps = own.length / ((dims[0] ?? 1) * channels);
    for (let at = 0; at < own.length; at++) {
      const c = Math.floor(at / taps) % channels;
      weights[c] = Math.max(weights[c] as number, Math.abs(own[at] as number));
    }
  }
  return peaks.map((peak, c) => Math.sqrt(Math.max(peak, least) / (weights[c] as number)));
}

/** A norm's factors or shifts, one a channel, over those of the channels. */
function byChannel({ values }: OnnxTensor, factors: readonly number[]): OnnxTensor {
  const own = (c: number) => (values.length === 1 ? values[0] : values[c]) as number;
  return {
    type: 'float32',
    dims: [factors.length, 1, 1],
    values: Float32Array.from(factors, (factor, c) => own(c) / factor),
  };
}

/** Weights [output, input, height, width] times the factor of the channel that each is for. */
function withInputs(weights: OnnxTensor, factors: readonly number[], group: number): OnnxTensor {
  const [outputs = 1, inputs = 1] = weights.dims;
  const taps = weights.values.length / (outputs * inputs);
  const channelOf = (at: number) =>
    group === 1 ? Math.floor(at / taps) % inputs : Math.floor(at / (taps * (outputs / group)));
  const values = Float32Array.from(
    weights.values,
    (value, at) => Number(value) * (factors[channelOf(at)] as number),
  );
  return { ...weights, values };
}

/** Constants of single nodes, changed; other nodes that share them keep them as they are. */
class Edits {
  readonly #model: OnnxModel;
  readonly #constants: Map<string, OnnxTensor>;
  readonly #nodes = new Map<OnnxNode, OnnxNode>();

  constructor(model: OnnxModel) {
    this.#model = model;
    this.#constants = new Map(model.constants);
  }

  change(node: OnnxNode, input: number, into: (own: OnnxTensor) => OnnxTensor): void {
    const now = this.#nodes.get(node) ?? node;
    const own = this.#constants.get(now.inputs[input] ?? '');
    if (!own) return;
    const name = `${node.outputs[0]}/equalised-${input}`;
    this.#constants.set(name, into(own));
    this.#nodes.set(node, {
      ...now,
      inputs: now.inputs.map((each, at) => (at === input ? name : each)),
    });
  }

  /** The model itself where nothing was changed. */
  model(): OnnxModel {
    if (this.#nodes.size === 0) return this.#model;
    const nodes = this.#model.nodes.map((node) => this.#nodes.get(node) ?? node);
    return { ...this.#model, nodes, constants: this.#constants };
  }
}
