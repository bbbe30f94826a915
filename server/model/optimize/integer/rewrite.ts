// Rewrites a float generator so that its pictures flow through it as bytes, colours last, from the upload's pixels to the
// answer's. Convolutions become QLinearConv; what normalises them is folded into their scales and biases, which are
// worked out at run time from a thinned-out copy of the same convolution. What is not understood stays as it is. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../../onnx/model-file.ts';
import { UnreadableModel } from '../../onnx/model-file.ts';
import { Builder, MICROSOFT, PIXELS_IN, PIXELS_OUT } from '../builder.ts';
import { isSideBySide } from '../enlarged-convolution.ts';
import { floatOf, GraphView, intOf, intsOf, stringOf, withoutDead } from '../graph.ts';
import type { Norm } from '../norms.ts';
import { type ByteValue, levelsIn } from './byte-value.ts';
import { type Convolution, convolveAtOnce } from './convolution.ts';
import { convolveNormed } from './normed-convolution.ts';
import { type Observed, ranged } from './observation.ts';
import { type AtOnce, pixelsAtOnce, type Widths } from './pixel-rows.ts';
import {
  type Curve,
  chooseLevels,
  chooseLevelsBehind,
  type Levels,
  MILD_CUTS,
  quantizeWeights,
} from './quantization.ts';
import { gainFrom, thinned } from './ranges.ts';
import { resultOf } from './result.ts';

/** How the picture goes into the float model and comes out of it. */
export interface PictureFormat {
  readonly layout: 'NHWC' | 'NCHW';
  readonly channels: 'RGB' | 'BGR';
  /** The values of black and of full light. */
  readonly input: { readonly range: readonly [number, number] };
  readonly output: { readonly range: readonly [number, number] };
}

/** What the rewrite needs besides the model. */
export interface IntegerPlan {
  readonly format: PictureFormat;
  readonly observed: ReadonlyMap<string, Observed>;
  /** Results of convolutions that stay floats. */
  readonly keepFloat: ReadonlySet<string>;
  /** Of any picture, and of those that were observed. */
  readonly widths: Widths & { readonly shown: number };
}

/** The rewritten model, and which of the float model's values live on as bytes in it. */
export interface IntegerModel {
  readonly model: OnnxModel;
  /** By the name in the float model. */
  readonly bytes: ReadonlyMap<string, ByteValue>;
  /** Results of the convolutions that became integer ones. */
  readonly convolutions: readonly string[];
  /** What stands behind each convolution's norm, or its result itself, by that result's name. */
  readonly results: ReadonlyMap<string, string>;
}

const NHWC_TO_NCHW = [0, 3, 1, 2];
const NCHW_TO_NHWC = [0, 2, 3, 1];
/** A result with at most this part of the picture's rows has few pixels; see #shiftsInside. */
const FEW_ROWS = 2;

/**
 * Rewrites a model.
 * @throws {UnreadableModel} when nothing of it can be rewritten.
 */
export function toIntegers(model: OnnxModel, plan: IntegerPlan): IntegerModel {
  return new IntegerRewrite(model, plan).run();
}

class IntegerRewrite {
  readonly #view: GraphView;
  readonly #plan: IntegerPlan;
  readonly #built = new Builder('toonfleet');
  readonly #bytes = new Map<string, ByteValue>();
  readonly #floats = new Map<string, string>();
  readonly #done = new Set<OnnxNode>();
  readonly #results = new Map<string, string>();
  readonly #opset: number;
  /** Rows of the largest value. */
  readonly #largest: number;

  constructor(model: OnnxModel, plan: IntegerPlan) {
    this.#view = new GraphView(model);
    this.#plan = plan;
    this.#opset = model.opsets[''] ?? 0;
    this.#largest = Math.max(...[...plan.observed.values()].map(({ dims }) => dims[1]));
  }

  run(): IntegerModel {
    const { model } = this.#view;
    const [input] = model.inputs;
    const [output] = model.outputs;
    if (!input || !output) throw new UnreadableModel('it has no input or no output');
    this.#begin(input.name);
    for (const node of model.nodes) if (!this.#done.has(node)) this.#rewrite(node);
    const last = this.#end(output.name);
    const [height, width] = this.#sides(input.dims);
    const nodes = this.#built.nodes.map((node) => ({
      ...node,
      outputs: node.outputs.map((name) => (name === last ? PIXELS_OUT : name)),
      inputs: node.inputs.map((name) => (name === last ? PIXELS_OUT : name)),
    }));
    const dims = [1, height, width, 3];
    const rewritten = withoutDead({
      irVersion: 8,
      opsets: { '': this.#opset, [MICROSOFT]: 1 },
      properties: model.properties,
      name: `${model.name}-int8`,
      inputs: [{ name: PIXELS_IN, type: 'uint8', dims }],
      outputs: [{ name: PIXELS_OUT, type: 'uint8', dims }],
      nodes,
      constants: new Map([...model.constants, ...this.#built.constants]),
    });
    const alive = new Set(rewritten.nodes.flatMap((node) => node.outputs));
    return {
      model: rewritten,
      bytes: new Map([...this.#bytes].filter(([, value]) => alive.has(value.name))),
      convolutions: [...this.#results.keys()],
      results: this.#results,
    };
  }

  #sides(dims: readonly (number | string)[]): [number | string, number | string] {
    const [a, b] = this.#plan.format.layout === 'NHWC' ? dims.slice(1, 3) : dims.slice(2, 4);
    const free = (side: number | string | undefined, name: string) =>
      typeof side === 'number' && side > 0 ? side : name;
    return [free(a, 'height'), free(b, 'width')];
  }

  /** The pixels of the upload are the first value: black is byte 0, full light byte 255. */
  #begin(input: string): void {
    const { channels, layout } = this.#plan.format;
    const [black, light] = this.#plan.format.input.range;
    const scale = (light - black) / 255;
    const zero = Math.min(255, Math.max(0, Math.round(-black / scale)));
    const name = channels === 'RGB' ? PIXELS_IN : this.#swapRedAndBlue(PIXELS_IN);
    this.#bytes.set(input, { name, scale, zero, rest: black + scale * zero, order: layout });
  }

  #end(output: string): string {
    const { channels } = this.#plan.format;
    const value = this.#bytes.get(output);
    const [black, light] = this.#plan.format.output.range;
    const scale = (light - black) / 255;
    const exact =
      value &&
      Math.abs(value.scale - scale) < 1e-6 &&
      Math.abs(value.rest - value.scale * value.zero - black) < 1e-5;
    const pixels = exact ? value.name : this.#toPixels(this.#float(output), black, scale);
    return channels === 'RGB' ? pixels : this.#swapRedAndBlue(pixels);
  }

  #toPixels(name: string, black: number, scale: number): string {
    const built = this.#built;
    const shifted = built.node('Sub', [name, built.float(black)]);
    const scaled = built.node('Div', [shifted, built.float(scale)]);
    const clipped = built.node('Clip', [built.node('Round', [scaled]), built.float(0), built.float(255)]);
    const bytes = built.node('Cast', [clipped], { to: { int: 2 } });
    return this.#plan.format.layout === 'NHWC' ? bytes : this.#transpose(bytes, NCHW_TO_NHWC);
  }

  #swapRedAndBlue(name: string): string {
    return this.#built.node('Gather', [name, this.#built.ints([2, 1, 0])], { axis: { int: 3 } });
  }

  #transpose(name: string, perm: readonly number[]): string {
    return this.#built.node('Transpose', [name], { perm: { ints: perm } });
  }

  // ---- values ----

  /** A value as the float model knows it. */
  #float(name: string): string {
    const known = this.#floats.get(name);
    if (known !== undefined) return known;
    const value = this.#bytes.get(name);
    if (!value) return name;
    const built = this.#built;
    const number = built.node('DequantizeLinear', [value.name, ...this.#wholeLevels(value)]);
    const whole = value.rest === 0 ? number : built.node('Add', [number, built.float(value.rest)]);
    const float = value.order === 'NHWC' ? whole : this.#transpose(whole, NHWC_TO_NCHW);
    this.#floats.set(name, float);
    return float;
  }

  /** A value as bytes; undefined when its range is not known. */
  #byte(name: string | undefined): ByteValue | undefined {
    if (name === undefined) return undefined;
    const known = this.#bytes.get(name);
    if (known) return known;
    const observed = this.#plan.observed.get(name);
    if (!observed || this.#view.constant(name)) return undefined;
    const built = this.#built;
    const float = this.#float(name);
    const follows = this.#takesGain(name);
    const levels = this.#levelsFor(observed, follows);
    // Of a few rows and columns here too: the very furthest peak of a plain picture would leave all else a few levels.
    const gain = follows
      ? gainFrom(built, thinned(built, float, { axes: [2, 3], seen: observed }), {
          seen: observed,
          opset: this.#opset,
        })
      : undefined;
    const whole: ByteValue = { ...levels, name: '', order: 'NCHW', rest: 0, gain };
    const bytes = built.node('QuantizeLinear', [float, ...this.#wholeLevels(whole)]);
    const value: ByteValue = { ...whole, name: this.#transpose(bytes, NCHW_TO_NHWC) };
    this.#bytes.set(name, value);
    return value;
  }

  #levels(levels: Levels): [string, string] {
    return levelsIn(this.#built, levels);
  }

  #levelsFor(seen: Observed, follows: boolean, curve?: Curve): Levels {
    return follows ? chooseLevels(ranged(seen).samples, curve, MILD_CUTS) : chooseLevels(seen.samples, curve);
  }

  /** The same with the picture's own gain in them. */
  #wholeLevels(value: ByteValue): [string, string] {
    const [step, zero] = this.#levels(value);
    return [value.gain === undefined ? step : this.#built.node('Mul', [step, value.gain]), zero];
  }

  #set(name: string | undefined, value: ByteValue): void {
    if (name !== undefined) this.#bytes.set(name, value);
  }

  // ---- nodes ----

  #rewrite(node: OnnxNode): void {
    if (this.#asBytes(node)) return;
    this.#built.nodes.push({
      ...node,
      inputs: node.inputs.map((name) =>
        name === '' || this.#view.constant(name) ? name : this.#float(name),
      ),
    });
  }

  /** True when the node was rewritten. */
  #asBytes(node: OnnxNode): boolean {
    switch (node.op) {
      case 'Conv':
        return this.#conv(node);
      case 'Pad':
        return this.#pad(node);
      case 'Resize':
        return this.#resize(node);
      case 'Transpose':
        return this.#reorder(node);
      case 'Add':
        return this.#add(node);
      case 'DepthToSpace':
        return this.#sideBySide(node);
      case 'LeakyRelu':
        return this.#leakyRelu(node);
      case 'Tanh':
        return this.#tanh(node);
      default:
        return false;
    }
  }

  /** Bytes have one order; only the float model's view of them changes. */
  #reorder(node: OnnxNode): boolean {
    const value = this.#bytes.get(node.inputs[0] ?? '');
    const perm = intsOf(node, 'perm').join();
    const wanted = value?.order === 'NHWC' ? NHWC_TO_NCHW : NCHW_TO_NHWC;
    if (!value || perm !== wanted.join()) return false;
    this.#set(node.outputs[0], { ...value, order: value.order === 'NHWC' ? 'NCHW' : 'NHWC' });
    return true;
  }

  #pad(node: OnnxNode): boolean {
    const [name = ''] = node.inputs;
    const pads = this.#view.constant(node.inputs[1]);
    if (pads?.values.length !== 8) return false;
    const mode = stringOf(node, 'mode', 'constant');
    const before = this.#bytes.get(name);
    if (pads.values.every((value) => value === 0)) {
      if (before) this.#set(node.outputs[0], before);
      return before !== undefined;
    }
    if ((mode !== 'reflect' && mode !== 'edge') || (!before && !this.#leadsToConv(node))) return false;
    const value = this.#byte(name);
    if (!value) return false;
    const at = (axis: number) => pads.values[axis] ?? 0;
    const nhwc = value.order === 'NHWC' ? [0, 1, 2, 3] : NCHW_TO_NHWC;
    const moved = [...nhwc.map((axis) => at(axis)), ...nhwc.map((axis) => at(axis + 4))];
    const padded = this.#built.node('Pad', [value.name, this.#built.ints(moved)], { mode: { string: mode } });
    this.#set(node.outputs[0], { ...value, name: padded });
    return true;
  }

  /** True when the next real work on a node's result is a convolution that can take bytes. */
  #leadsToConv(node: OnnxNode): boolean {
    const next = this.#view.onlyConsumer(node.outputs[0]);
    if (next?.op === 'Pad' || next?.op === 'Resize') return this.#leadsToConv(next);
    return next?.op === 'Conv' && this.#worthIt(next);
  }

  /** Enlarging by two, as the calibration's shapes tell; other factors stay floats. */
  #resize(node: OnnxNode): boolean {
    const [name = ''] = node.inputs;
    const [before, after] = [this.#plan.observed.get(name), this.#plan.observed.get(node.outputs[0] ?? '')];
    if (!before || !after) return false;
    const known = this.#bytes.get(name);
    if (!known && !this.#leadsToConv(node)) return false;
    const mode = stringOf(node, 'coordinate_transformation_mode', 'half_pixel');
    const linear = stringOf(node, 'mode', 'nearest') === 'linear';
    const doubled = [1, 2].every((axis) => after.dims[axis] === 2 * (before.dims[axis] ?? 0));
    if (!linear || !doubled || !['asymmetric', 'half_pixel', 'pytorch_half_pixel'].includes(mode))
      return false;
    const value = this.#byte(name);
    if (value?.order !== 'NCHW') return false;
    const scales = this.#built.float([1, 2, 2, 1]);
    const large = this.#built.node('Resize', [value.name, '', scales], {
      mode: { string: 'linear' },
      coordinate_transformation_mode: { string: mode === 'asymmetric' ? mode : 'half_pixel' },
    });
    this.#set(node.outputs[0], { ...value, name: large });
    return true;
  }

  /** Channels, of which each pixel has four sets one behind the other, as twice the rows and columns. */
  #sideBySide(node: OnnxNode): boolean {
    const value = this.#bytes.get(node.inputs[0] ?? '');
    const channels = this.#plan.observed.get(node.outputs[0] ?? '')?.dims[0];
    if (value?.order !== 'NCHW' || !isSideBySide(node) || channels === undefined) return false;
    this.#set(node.outputs[0], { ...value, name: this.#putSideBySide(value.name, channels) });
    return true;
  }

  /** @param channels Of each pixel behind it. */
  #putSideBySide(name: string, channels: number): string {
    const built = this.#built;
    const apart = built.node('Reshape', [name, built.ints([0, 0, 0, 2, 2 * channels])]);
    const rows = built.node('Transpose', [apart], { perm: { ints: [0, 1, 3, 2, 4] } });
    const grown = built.node('Mul', [built.node('Shape', [name]), built.ints([1, 2, 2, 1])]);
    const sides = built.node('Div', [grown, built.ints([1, 1, 1, 4])]);
    return built.node('Reshape', [rows, sides]);
  }

  #add(node: OnnxNode): boolean {
    const [one, other] = node.inputs.map((name) => this.#bytes.get(name));
    const observed = this.#plan.observed.get(node.outputs[0] ?? '');
    if (!one || !other || !observed || one.order !== other.order) return false;
    const result = node.outputs[0] ?? '';
    const follows = [one, other].some((value) => value.gain !== undefined) && this.#takesGain(result);
    const levels = this.#levelsFor(observed, follows, this.#curveBehind(result));
    const gain = follows ? this.#rangeOfSum([one, other], observed) : undefined;
    const whole: ByteValue = { ...levels, name: '', order: one.order, rest: 0, gain };
    const sum = this.#built.node(
      'QLinearAdd',
      [
        ...[one, other].flatMap((value) => [value.name, ...this.#wholeLevels(value)]),
        ...this.#wholeLevels(whole),
      ],
      {},
      MICROSOFT,
    );
    this.#set(result, { ...whole, name: sum });
    return true;
  }

  /** The gain that fits a sum's range in this picture to its levels, from a thinned-out copy of what is added. */
  #rangeOfSum(values: readonly ByteValue[], seen: Observed): string {
    const built = this.#built;
    const [one = '', other = ''] = values.map((value) =>
      built.node('DequantizeLinear', [
        thinned(built, value.name, { axes: [1, 2], seen }),
        ...this.#wholeLevels(value),
      ]),
    );
    return gainFrom(built, built.node('Add', [one, other]), { seen, opset: this.#opset });
  }

  #leakyRelu(node: OnnxNode): boolean {
    const value = this.#bytes.get(node.inputs[0] ?? '');
    const observed = this.#plan.observed.get(node.inputs[0] ?? '');
    if (!value || !observed) return false;
    const alpha = floatOf(node, 'alpha', 0.01);
    const samples = value.gain === undefined ? observed.samples : ranged(observed).samples;
    const levels = chooseLevelsBehind(samples, value, leaky(alpha));
    const bent = this.#built.node(
      'QLinearLeakyRelu',
      [value.name, ...this.#levels(value), ...this.#levels(levels)],
      { alpha: { float: alpha } },
      MICROSOFT,
    );
    this.#set(node.outputs[0], { ...value, ...levels, name: bent });
    return true;
  }

  /** tanh(x) is 2·sigmoid(2x) − 1: the sigmoid's byte is the pixel itself. */
  #tanh(node: OnnxNode): boolean {
    const value = this.#bytes.get(node.inputs[0] ?? '');
    if (!value) return false;
    const twice = this.#levels({ scale: value.scale * 2, zero: value.zero });
    const bent = this.#built.node(
      'QLinearSigmoid',
      [value.name, ...twice, ...this.#levels({ scale: Math.fround(1 / 255), zero: 0 })],
      {},
      MICROSOFT,
    );
    this.#set(node.outputs[0], { ...value, name: bent, scale: 2 / 255, zero: 0, rest: -1 });
    return true;
  }

  /** The curve that a value goes through next: errors count behind it. */
  #curveBehind(name: string | undefined): Curve {
    const next = this.#view.onlyConsumer(name);
    if (next?.op === 'LeakyRelu') return leaky(floatOf(next, 'alpha', 0.01));
    if (next?.op === 'Tanh') return Math.tanh;
    return (value) => value;
  }

  // ---- convolutions ----

  /** A convolution whose result goes on as bytes: into a norm, an activation or a sum. */
  #worthIt(conv: OnnxNode): boolean {
    if (this.#plan.keepFloat.has(conv.outputs[0] ?? '')) return false;
    const weights = this.#view.constant(conv.inputs[1]);
    if (weights?.dims.length !== 4 || stringOf(conv, 'auto_pad', 'NOTSET') !== 'NOTSET') return false;
    if (intsOf(conv, 'dilations').some((dilation) => dilation !== 1)) return false;
    if (conv.inputs[2] !== undefined && conv.inputs[2] !== '' && !this.#view.constant(conv.inputs[2]))
      return false;
    const { name, norm } = resultOf(this.#view, conv);
    const next = this.#view.onlyConsumer(name);
    return norm !== undefined || (next !== undefined && ['LeakyRelu', 'Tanh', 'Add'].includes(next.op));
  }

  #conv(conv: OnnxNode): boolean {
    if (!this.#worthIt(conv)) return false;
    const value = this.#byte(conv.inputs[0]);
    if (value?.order !== 'NCHW') return false;
    const { norm, name, channels, output, sideBySide } = resultOf(this.#view, conv);
    const seen = this.#plan.observed.get(output);
    const raw = this.#plan.observed.get(name);
    if (!seen || !raw) return false;
    // LADE's results are as strong as what it was given, in plain pictures too.
    const follows = norm !== undefined && norm.kind !== 'lade' && this.#takesGain(output);
    const levels = this.#levelsFor(seen, follows, this.#curveBehind(output));
    const own = this.#plan.observed.get(conv.outputs[0] ?? '') ?? raw;
    const made: Pick<ByteValue, 'name' | 'gain'> = norm
      ? convolveNormed(this.#built, {
          value,
          weights: this.#weights(conv),
          bias: this.#bias(conv),
          shape: (thin) => this.#shape(conv, thin),
          norm,
          seen: { own, raw, normed: seen },
          levels,
          follows,
          shiftInside: this.#shiftsInside(norm, own),
          pixels: this.#pixelsAtOnce(conv),
          widths: this.#widthsOf(own),
          opset: this.#opset,
        })
      : { name: this.#plainConv(conv, value, levels) };
    for (const node of [...(norm?.nodes ?? []), ...(sideBySide ? [sideBySide] : [])]) this.#done.add(node);
    const whole = sideBySide ? this.#putSideBySide(made.name, channels) : made.name;
    this.#set(output, { ...levels, ...made, name: whole, order: 'NCHW', rest: 0 });
    this.#results.set(conv.outputs[0] ?? '', output);
    return true;
  }

  #plainConv(conv: OnnxNode, value: ByteValue, levels: Levels): string {
    const { weights, scales, sums } = quantizeWeights(this.#weights(conv));
    const bias = this.#bias(conv).map((each, c) =>
      Math.round((each + value.rest * (sums[c] ?? 0)) / (value.scale * (scales[c] ?? 1))),
    );
    return convolveAtOnce(
      this.#built,
      { value, weights, scales: this.#scales(value, scales), bias, levels, ...this.#shape(conv) },
      this.#pixelsAtOnce(conv),
    );
  }

  #pixelsAtOnce(conv: OnnxNode): AtOnce {
    const observed = this.#plan.observed.get(conv.outputs[0] ?? '');
    const { strides, group, pads } = this.#shape(conv);
    const plain = [...strides, group].every((each) => each === 1) && pads.every((each) => each === 0);
    return plain && observed ? pixelsAtOnce(this.#weights(conv).dims, this.#widthsOf(observed)) : 1;
  }

  /** How wide a value may be. */
  #widthsOf({ dims }: Observed): Widths {
    const { shown, multiple, least } = this.#plan.widths;
    const part = dims[2] / shown;
    return { multiple: multiple * part, least: least * part };
  }

  /** Scales of weights, and with them the gain of what the convolution works on. */
  #scales({ gain }: ByteValue, scales: readonly number[]): string | readonly number[] {
    return gain === undefined ? scales : this.#built.node('Mul', [this.#built.float(scales), gain]);
  }

  /**
   * Whether the shift goes into the bias, which is then worked out at run time: one rounding less. The kernel for such biases
   * copies each pixel's neighbours out first. That costs as much as it saves where a result has few pixels and many channels,
   * and more where it is the other way round.
   */
  #shiftsInside(norm: Norm, { dims: [, height] }: Observed): boolean {
    if (norm.kind === 'lade') return false;
    return norm.gamma.every((each) => Math.abs(each) > 1e-6) && height * FEW_ROWS <= this.#largest;
  }

  /**
   * True when all who use a value can make up for a gain: a norm divides it out again, as long as nothing was added before,
   * and a convolution without a bias multiplies it in.
   */
  #takesGain(name: string): boolean {
    const users = this.#view.consumers(name);
    return (
      users.length > 0 &&
      !this.#view.isOutput(name) &&
      users.every((node) => {
        if (node.op === 'Conv')
          return (
            this.#worthIt(node) &&
            (node.inputs[2] ?? '') === '' &&
            resultOf(this.#view, node).norm?.kind !== 'lade'
          );
        // A sum of bytes takes any steps; whether it goes on with a gain is its own matter.
        if (node.op === 'Add') return node.inputs.every((input) => !this.#view.constant(input));
        return (
          ['LeakyRelu', 'Pad', 'Resize', 'DepthToSpace'].includes(node.op) &&
          this.#takesGain(node.outputs[0] ?? '')
        );
      })
    );
  }

  /** @param thin Of so many rows and columns one is made. */
  #shape(conv: OnnxNode, thin = 1): Pick<Convolution, 'strides' | 'pads' | 'group'> {
    return {
      strides: intsOf(conv, 'strides', [1, 1]).map((stride) => stride * thin),
      pads: intsOf(conv, 'pads', [0, 0, 0, 0]),
      group: intOf(conv, 'group', 1),
    };
  }

  #weights(conv: OnnxNode): OnnxTensor {
    const weights = this.#view.constant(conv.inputs[1]);
    if (!weights) throw new UnreadableModel('a convolution has no constant weights');
    return weights;
  }

  #bias(conv: OnnxNode): number[] {
    const bias = this.#view.constant(conv.inputs[2]);
    return bias ? [...bias.values] : Array<number>(this.#weights(conv).dims[0] ?? 1).fill(0);
  }
}

function leaky(alpha: number): Curve {
  return (value) => (value < 0 ? value * alpha : value);
}
