// Rewrites a float generator so that its pictures flow through it as bytes, colours last, from the upload's pixels to the
// answer's. Convolutions become QLinearConv; what normalises them is folded into their scales and biases, which are
// worked out at run time from a thinned-out copy of the same convolution. What is not understood stays as it is. Pure.

import type { OnnxModel, OnnxNode, OnnxTensor } from '../onnx/model-file.ts';
import { UnreadableModel } from '../onnx/model-file.ts';
import { Builder, MICROSOFT, PIXELS_IN, PIXELS_OUT } from './builder.ts';
import { floatOf, GraphView, intOf, intsOf, stringOf, withoutDead } from './graph.ts';
import { type Norm, normBehind } from './norms.ts';
import { LEAST_RANGE, momentsOf, type Observed, ranged } from './observation.ts';
import {
  type Curve,
  chooseLevels,
  chooseLevelsBehind,
  type Levels,
  levelsOf,
  MILD_CUTS,
  quantizeWeights,
} from './quantization.ts';

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

/** A picture-like value as bytes [1, height, width, channels]. */
export interface ByteValue extends Levels {
  readonly name: string;
  /** Where the float model keeps the channels. */
  readonly order: 'NHWC' | 'NCHW';
  /** What has to be added to scale · (byte − zero); only the picture itself, whose grey is between two bytes, needs it. */
  readonly rest: number;
  /** A number of the picture's own that all of it has to be multiplied by, known at run time only; see #ownRange. */
  readonly gain?: string | undefined;
}

const NHWC_TO_NCHW = [0, 3, 1, 2];
const NCHW_TO_NHWC = [0, 2, 3, 1];
/** Statistics are taken from about this many rows and columns. */
const STATISTICS_SIDE = 64;
/** How far beyond what calibration saw a thinned-out value may go. */
const HEADROOM = 2;
/** At most every so many-th row and column is left, or too many peaks of a large picture are missed. */
const THINNEST = 4;
/** How much wider a picture's own range is than a copy shows of which so many rows and columns are left out. */
const unseen = (thin: number) => 1.1 + 0.05 * thin;
/** How many times the furthest calibrated range a picture's own may be; its few peaks beyond it are cut. */
const MOST_RANGE = 3;
/** How much wider the range is before a picture's own shift was added. */
const SLACK = 1.1;
/** A result with at most this part of the picture's rows has few pixels; see #shiftsInside. */
const FEW_ROWS = 4;
/** Kernels of ONNX Runtime work on blocks of so many output channels; fewer are much slower. */
const CHANNEL_BLOCK = 16;

/**
 * Rewrites a model.
 * @throws {UnreadableModel} when nothing of it can be rewritten.
 */
export function toIntegers(model: OnnxModel, plan: IntegerPlan): IntegerModel {
  return new IntegerRewrite(model, plan).run();
}

interface NormedParts {
  readonly value: ByteValue;
  readonly norm: Norm;
  /** What was seen of the convolution's result, and behind its norm. */
  readonly raw: Observed;
  readonly seen: Observed;
  readonly levels: Levels;
  /** Whether its range follows the picture. */
  readonly follows: boolean;
}

/** What a norm does to each channel of one picture, by names: value · factor + shift. */
interface Affine {
  readonly factor: string;
  readonly shift: string;
}

/** The same over `gain`, which the value has to be multiplied by. */
type RangedAffine = Affine & { readonly gain?: string };

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
    const gain = follows ? this.#rangeOf(this.#thinned(float, [2, 3], observed), observed) : undefined;
    const whole: ByteValue = { ...levels, name: '', order: 'NCHW', rest: 0, gain };
    const bytes = built.node('QuantizeLinear', [float, ...this.#wholeLevels(whole)]);
    const value: ByteValue = { ...whole, name: this.#transpose(bytes, NCHW_TO_NHWC) };
    this.#bytes.set(name, value);
    return value;
  }

  #levels({ scale, zero }: Levels): [string, string] {
    return [this.#built.float(scale), this.#built.byte(zero)];
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
    const plain = intOf(node, 'blocksize', 0) === 2 && stringOf(node, 'mode', 'DCR') === 'DCR';
    const channels = this.#plan.observed.get(node.outputs[0] ?? '')?.dims[0];
    if (value?.order !== 'NCHW' || !plain || channels === undefined) return false;
    const built = this.#built;
    const apart = built.node('Reshape', [value.name, built.ints([0, 0, 0, 2, 2 * channels])]);
    const rows = built.node('Transpose', [apart], { perm: { ints: [0, 1, 3, 2, 4] } });
    const grown = built.node('Mul', [built.node('Shape', [value.name]), built.ints([1, 2, 2, 1])]);
    const sides = built.node('Div', [grown, built.ints([1, 1, 1, 4])]);
    this.#set(node.outputs[0], { ...value, name: built.node('Reshape', [rows, sides]) });
    return true;
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
      built.node('DequantizeLinear', [this.#thinned(value.name, [1, 2], seen), ...this.#wholeLevels(value)]),
    );
    return this.#rangeOf(built.node('Add', [one, other]), seen);
  }

  #thinned(name: string, axes: readonly [number, number], seen: Observed): string {
    const thin = thinningOf(seen);
    const at = [[0, 0], [1e9, 1e9], axes, [thin, thin]].map((numbers) => this.#built.ints(numbers));
    return this.#built.node('Slice', [name, ...at]);
  }

  #rangeOf(values: string, seen: Observed): string {
    const endOf = (op: 'ReduceMax' | 'ReduceMin') =>
      this.#built.reduce(op, values, [0, 1, 2, 3], this.#opset);
    return this.#gainFor(endOf('ReduceMax'), endOf('ReduceMin'), seen);
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
    const next = this.#view.onlyConsumer(conv.outputs[0]);
    const goesOn = next !== undefined && ['LeakyRelu', 'Tanh', 'Add'].includes(next.op);
    return goesOn || normBehind(this.#view, conv) !== undefined;
  }

  #conv(conv: OnnxNode): boolean {
    if (!this.#worthIt(conv)) return false;
    const value = this.#byte(conv.inputs[0]);
    if (value?.order !== 'NCHW') return false;
    const norm = normBehind(this.#view, conv);
    const result = norm?.output ?? conv.outputs[0] ?? '';
    const seen = this.#plan.observed.get(result);
    const raw = this.#plan.observed.get(conv.outputs[0] ?? '');
    if (!seen || !raw) return false;
    // LADE's results are as strong as what it was given, in plain pictures too.
    const follows = norm !== undefined && norm.kind !== 'lade' && this.#takesGain(result);
    const levels = this.#levelsFor(seen, follows, this.#curveBehind(result));
    const made = norm
      ? this.#normedConv(conv, { value, norm, raw, seen, levels, follows })
      : { name: this.#plainConv(conv, value, levels) };
    for (const node of norm?.nodes ?? []) this.#done.add(node);
    this.#set(result, { ...levels, ...made, order: 'NCHW', rest: 0 });
    this.#results.set(conv.outputs[0] ?? '', result);
    return true;
  }

  #plainConv(conv: OnnxNode, value: ByteValue, levels: Levels): string {
    const { weights, scales, sums } = quantizeWeights(this.#weights(conv));
    const bias = this.#bias(conv, scales.length);
    const whole = bias.map((each, c) =>
      Math.round((each + value.rest * (sums[c] ?? 0)) / (value.scale * (scales[c] ?? 1))),
    );
    const attributes = this.#convAttributes(conv, 1);
    const missing = Math.max(0, CHANNEL_BLOCK - scales.length);
    const group = intOf(conv, 'group', 1);
    if (missing === 0 || group !== 1) {
      return this.#qlinearConv({
        value,
        weights,
        scales: this.#scales(value, scales),
        bias: whole,
        levels,
        attributes,
      });
    }
    // A full block of channels, of which the first few are taken, is faster than the few alone.
    const wide = this.#qlinearConv({
      value,
      weights: widened(weights, missing),
      scales: this.#scales(value, [...scales, ...Array<number>(missing).fill(1)]),
      bias: [...whole, ...Array<number>(missing).fill(0)],
      levels,
      attributes,
    });
    const built = this.#built;
    return built.node('Slice', [wide, built.ints([0]), built.ints([scales.length]), built.ints([3])]);
  }

  /** Scales of weights, and with them the gain of what the convolution works on. */
  #scales({ gain }: ByteValue, scales: readonly number[]): string {
    const own = this.#built.float(scales);
    return gain === undefined ? own : this.#built.node('Mul', [own, gain]);
  }

  /** The statistics come from a thinned-out copy; the convolution itself then gives normalised bytes at once. */
  #normedConv(
    conv: OnnxNode,
    { value, norm, raw, seen, levels, follows }: NormedParts,
  ): Pick<ByteValue, 'name' | 'gain'> {
    const built = this.#built;
    const { weights, scales, sums } = quantizeWeights(this.#weights(conv));
    const channels = scales.length;
    const bias = this.#bias(conv, channels).map((each, c) => each + value.rest * (sums[c] ?? 0));
    const units = scales.map((scale) => scale * value.scale);
    // Each channel has its own range here: the scale of its weights decides how far its bytes reach.
    const steps = raw.channels.map(({ peak }) => (HEADROOM * Math.max(peak, 1e-6)) / 127);
    // LADE works on all of these rows and columns, and no range depends on them.
    const thin = thinningOf(raw, norm.kind === 'lade' ? Number.POSITIVE_INFINITY : THINNEST);
    const sample = this.#qlinearConv({
      value: { ...value, scale: 1 },
      weights,
      scales: built.float(units.map((unit, c) => unit / (steps[c] ?? 1))),
      bias: bias.map((each, c) => Math.round(each / (units[c] ?? 1))),
      levels: { scale: 1, zero: 128 },
      attributes: this.#convAttributes(conv, thin),
    });
    const centred = built.node('Sub', [built.node('Cast', [sample], { to: { int: 1 } }), built.float(128)]);
    const values = built.node('Mul', [centred, built.float(steps)]);
    const exact = norm.kind === 'lade' ? this.#lade(values, norm) : this.#moments(values, norm, value.gain);
    const { factor, shift, gain }: RangedAffine = follows
      ? this.#ownRange(exact, { sample, steps, seen })
      : exact;
    if (norm.kind !== 'lade' && this.#shiftsInside(norm, raw)) {
      const inSums = built.node('Div', [built.node('Div', [shift, factor]), built.float(units)]);
      const all = built.node('Add', [inSums, built.float(bias.map((each, c) => each / (units[c] ?? 1)))]);
      const name = this.#qlinearConv({
        value,
        weights,
        scales: built.node('Mul', [factor, built.float(scales)]),
        bias: built.node('Cast', [built.node('Round', [all])], { to: { int: 6 } }),
        levels,
        attributes: this.#convAttributes(conv, 1),
      });
      return { name, gain };
    }
    // Elsewhere that kernel is several times slower. So the bias is the shift that
    // calibration saw on average, and what this picture's shift is more than that is added to the bytes.
    const usual = usualShift(raw, seen);
    const wide = levelsOf(-levels.scale * levels.zero * SLACK, levels.scale * (255 - levels.zero) * SLACK);
    const normed = this.#qlinearConv({
      value,
      weights,
      scales: built.node('Mul', [factor, built.float(scales)]),
      bias: bias.map((each, c) => Math.round((each + (usual[c] ?? 0)) / (units[c] ?? 1))),
      levels: wide,
      attributes: this.#convAttributes(conv, 1),
    });
    const more = built.node('Sub', [shift, built.node('Mul', [factor, built.float(usual)])]);
    const name = built.node(
      'QLinearAdd',
      [normed, ...this.#levels(wide), ...this.#dynamicBytes(more), ...this.#levels(levels)],
      {},
      MICROSOFT,
    );
    return { name, gain };
  }

  /**
   * Whether the shift goes into the bias, which is then worked out at run time: one rounding less. The kernel for such biases
   * copies each pixel's neighbours out first. That costs as much as it saves where a result has few pixels and many channels,
   * and up to four times the convolution where it is the other way round.
   */
  #shiftsInside({ gamma }: Norm & { kind: 'group' | 'instance' }, { dims }: Observed): boolean {
    const [, height] = dims;
    return gamma.every((each) => Math.abs(each) > 1e-6) && height * FEW_ROWS <= this.#largest;
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
            normBehind(this.#view, node)?.kind !== 'lade'
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

  /**
   * Fits a picture's own range to the levels that calibration chose. A norm makes the few strong edges of a plain picture
   * many times as large as those of a busy one: levels for both would leave the busy one a handful.
   */
  #ownRange(
    { factor, shift }: Affine,
    { sample, steps, seen }: { sample: string; steps: readonly number[]; seen: Observed },
  ): RangedAffine {
    const built = this.#built;
    const endOf = (op: 'ReduceMax' | 'ReduceMin') => {
      const byte = built.reduce(op, sample, [0, 1, 2], this.#opset);
      const off = built.node('Sub', [built.node('Cast', [byte], { to: { int: 1 } }), built.float(128)]);
      const value = built.node('Mul', [off, built.float(steps)]);
      return built.node('Add', [built.node('Mul', [value, factor]), shift]);
    };
    // A negative factor turns the ends of a channel round.
    const ends = [endOf('ReduceMax'), endOf('ReduceMin')];
    const high = built.reduce('ReduceMax', built.node('Max', ends), [0], this.#opset);
    const low = built.reduce('ReduceMin', built.node('Min', ends), [0], this.#opset);
    const gain = this.#gainFor(high, low, seen);
    return {
      factor: built.node('Div', [factor, gain]),
      shift: built.node('Div', [shift, gain]),
      gain,
    };
  }

  /** How many times as far a value reaches in this picture as in those that calibration saw. */
  #gainFor(high: string, low: string, seen: Observed): string {
    const built = this.#built;
    const wider = unseen(thinningOf(seen));
    const [least, most] = ranged(seen).ends;
    const shares = [
      ...(most > 0 ? [built.node('Mul', [high, built.float(wider / most)])] : []),
      ...(least < 0 ? [built.node('Mul', [low, built.float(wider / least)])] : []),
    ];
    return built.node('Min', [
      built.node('Max', [...shares, built.float(LEAST_RANGE)]),
      built.float(MOST_RANGE),
    ]);
  }

  /** Bytes, scale and zero of a few numbers that are known at run time only. */
  #dynamicBytes(name: string): readonly string[] {
    const bytes = this.#built.node('DynamicQuantizeLinear', [name]);
    const outputs = [bytes, `${bytes}_scale`, `${bytes}_zero`];
    const node = this.#built.nodes.pop();
    if (node) this.#built.nodes.push({ ...node, outputs });
    return outputs;
  }

  #mean(name: string, axes: readonly number[], keepdims: 0 | 1): string {
    return this.#built.mean(name, axes, this.#opset, keepdims);
  }

  /** Factor and shift of each channel, from mean and variance over all of the picture. */
  #moments(values: string, norm: Norm & { kind: 'group' | 'instance' }, gain: string | undefined): Affine {
    const built = this.#built;
    const whole = built.float(norm.epsilon);
    const epsilon = gain === undefined ? whole : built.node('Div', [whole, built.node('Mul', [gain, gain])]);
    const axes = norm.kind === 'group' ? [0, 1, 2, 3] : [0, 1, 2];
    const mean = this.#mean(values, axes, 0);
    const off = built.node('Sub', [values, mean]);
    const variance = this.#mean(built.node('Mul', [off, off]), axes, 0);
    const deviation = built.node('Sqrt', [built.node('Add', [variance, epsilon])]);
    const factor = built.node('Div', [built.float(norm.gamma), deviation]);
    return { factor, shift: built.node('Sub', [built.float(norm.beta), built.node('Mul', [mean, factor])]) };
  }

  /** The deviation and the mean of a 1×1 convolution take the place of the value's own. */
  #lade(values: string, norm: Norm & { kind: 'lade' }): Affine {
    const built = this.#built;
    const mean = this.#mean(values, [0, 1, 2], 0);
    const off = built.node('Sub', [values, mean]);
    const across = built.tensor(turned(norm.weights));
    const mixed = built.node('MatMul', [off, across]);
    const newMean = built.node('Add', [built.node('MatMul', [mean, across]), built.float(norm.bias)]);
    const deviation = (of: string) => {
      const variance = this.#mean(built.node('Mul', [of, of]), [0, 1, 2], 0);
      return built.node('Sqrt', [built.node('Add', [variance, built.float(Math.max(norm.epsilon, 1e-9))])]);
    };
    const factor = built.node('Div', [deviation(mixed), deviation(off)]);
    return { factor, shift: built.node('Sub', [newMean, built.node('Mul', [mean, factor])]) };
  }

  #qlinearConv(parts: {
    value: ByteValue;
    weights: OnnxTensor;
    scales: string;
    bias: string | readonly number[];
    levels: Levels;
    attributes: OnnxNode['attributes'];
  }): string {
    const built = this.#built;
    const { value, weights, scales, bias, levels, attributes } = parts;
    const zeros: OnnxTensor = {
      type: 'int8',
      dims: [weights.dims[0] ?? 1],
      values: new Int8Array(weights.dims[0] ?? 1),
    };
    const whole =
      typeof bias === 'string'
        ? bias
        : built.tensor({ type: 'int32', dims: [bias.length], values: Int32Array.from(bias) });
    return built.node(
      'QLinearConv',
      [
        value.name,
        ...this.#levels(value),
        built.tensor(weights),
        scales,
        built.tensor(zeros),
        ...this.#levels(levels),
        whole,
      ],
      attributes,
      MICROSOFT,
    );
  }

  #convAttributes(conv: OnnxNode, thin: number): OnnxNode['attributes'] {
    const [, , high = 1, wide = 1] = this.#weights(conv).dims;
    return {
      channels_last: { int: 1 },
      kernel_shape: { ints: [high, wide] },
      strides: { ints: intsOf(conv, 'strides', [1, 1]).map((stride) => stride * thin) },
      pads: { ints: intsOf(conv, 'pads', [0, 0, 0, 0]) },
      group: { int: intOf(conv, 'group', 1) },
    };
  }

  #weights(conv: OnnxNode): OnnxTensor {
    const weights = this.#view.constant(conv.inputs[1]);
    if (!weights) throw new UnreadableModel('a convolution has no constant weights');
    return weights;
  }

  #bias(conv: OnnxNode, channels: number): number[] {
    const bias = this.#view.constant(conv.inputs[2]);
    return bias ? [...bias.values] : Array<number>(channels).fill(0);
  }
}

function leaky(alpha: number): Curve {
  return (value) => (value < 0 ? value * alpha : value);
}

/** [output, input, 1, 1] as [input, output], which a matrix product along the last axis takes. */
function turned({ dims, values }: OnnxTensor): OnnxTensor {
  const [out = 1, into = 1] = dims;
  const across = new Float32Array(out * into);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < into; i++) across[i * out + o] = values[o * into + i] as number;
  return { type: 'float32', dims: [into, out], values: across };
}

/** Weights with so many more output channels, which give nothing. */
function widened({ dims, values }: OnnxTensor, more: number): OnnxTensor {
  const [out = 1, ...rest] = dims;
  const wide = new Int8Array((values.length / out) * (out + more));
  wide.set(values);
  return { type: 'int8', dims: [out + more, ...rest], values: wide };
}

/** Of so many rows and columns one is looked at for statistics. */
function thinningOf({ dims: [, height, width] }: Observed, thinnest = THINNEST): number {
  return Math.min(thinnest, Math.max(1, Math.floor(Math.min(height, width) / STATISTICS_SIDE)));
}

/** How far a norm shifted each channel of a convolution's result, before its factor, in the pictures that were shown. */
function usualShift(raw: Observed, seen: Observed): number[] {
  return raw.channels.map((channel, c) => {
    const after = seen.channels[c];
    const [from, to] = [momentsOf(channel), after && momentsOf(after)];
    return to && to.deviation > 1e-6 ? (to.mean * from.deviation) / to.deviation - from.mean : -from.mean;
  });
}
