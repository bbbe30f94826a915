// ONNX Runtime convolves in blocks of channels (as many as the CPU's vectors hold), and brings every layer back to plain
// order for what it cannot do in blocks: paddings, means, sums with other layers. Here these are written for blocks as well,
// on a view of five dimensions [1, channels/block, height, width, block], so that layers stay in blocks from end to end.
//
// Works on the file that ONNX Runtime writes after its own optimisation, for the CPU that it was written on. Pure.

import type { OnnxModel, OnnxNode, OnnxPort } from '../../onnx/model-file.ts';
import { Builder, MICROSOFT } from '../builder.ts';
import { floatOf, GraphView, intOf, stringOf, withoutDead } from '../graph.ts';
import { SCALED } from './affine-norms.ts';
import { ROWS } from './moments.ts';
import { endsOf, RING } from './ring.ts';

/** The domain of ONNX Runtime's operators on blocks. */
const NCHWC = 'com.microsoft.nchwc';

/** A value that is known in blocks too. */
interface Blocked {
  /** Its name as a view of five dimensions. */
  readonly five: string;
  readonly channels: number;
}

const BY_VALUE = new Set(['LeakyRelu', 'Relu', 'Tanh', 'Sigmoid', 'Sqrt', 'Reciprocal', 'Clip', 'Identity']);
const TOGETHER = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** How many channels a block has in a file that ONNX Runtime wrote; undefined when it has no blocks. */
export function blockOf(model: OnnxModel): number | undefined {
  const blocked = model.nodes.some(({ domain, op }) => domain === NCHWC && op === 'ReorderOutput');
  if (!blocked) return undefined;
  // Weights are filled up to whole blocks, so their first dimension tells; the smallest one is a block, or several.
  const outputs = model.nodes
    .filter(({ domain, op }) => domain === NCHWC && op === 'Conv')
    .map(({ inputs }) => model.constants.get(inputs[1] ?? '')?.dims[0] ?? 0);
  return outputs.every((count) => count % 16 === 0) ? 16 : 8;
}

/** The graph with layers kept in blocks wherever that is known to be possible. */
export function blockedRewrite(model: OnnxModel, block: number): OnnxModel {
  return withoutDead(new Rewriting(model, block).run());
}

class Rewriting {
  readonly #model: OnnxModel;
  readonly #block: number;
  readonly #builder = new Builder('blocked');
  readonly #known = new Map<string, Blocked>();
  /** Where the same value stands in blocks under the dimensions of the plain one; for asking its shape. */
  readonly #nominal = new Map<string, string>();

  /** Layers that are being scaled. */
  readonly #scaled = new Map<string, { readonly layer: Blocked; readonly scale: string }>();
  /** Scaled and shifted layers: their views, and the convolutions that make them. */
  readonly #affines = new Map<string, string>();
  readonly #view: GraphView;
  readonly #sized: OnnxPort[] = [];

  constructor(model: OnnxModel, block: number) {
    this.#view = new GraphView(model);
    this.#model = model;
    this.#block = block;
  }

  run(): OnnxModel {
    for (const node of this.#model.nodes) this.#take(node);
    const constants = new Map([...this.#model.constants, ...this.#builder.constants]);
    return { ...this.#model, nodes: this.#builder.nodes, constants, values: this.#sized };
  }

  /** Every node stays; what nobody needs any more goes at the end. */
  #take(node: OnnxNode): void {
    const output = node.outputs[0] ?? '';
    if (node.op === 'ReorderInput' && this.#leave(node, output)) return;
    if (node.op === 'GlobalAveragePool' && this.#mean(node, output)) return;
    if (node.op === 'Slice' && this.#strip(node, output)) return;
    if (output.endsWith(ROWS) && this.#rows(node)) return;
    if (node.op === 'FusedMatMul' && this.#products(node, output)) return;
    const shaped = node.op === 'Shape' ? this.#measurable(node.inputs[0] ?? '') : undefined;
    this.#builder.nodes.push(shaped === undefined ? node : { ...node, inputs: [shaped] });
    const known = this.#inBlocks(node);
    if (known) this.#known.set(output, known);
  }

  /** Back into blocks: it never left them. */
  #leave(node: OnnxNode, output: string): boolean {
    const known = this.#known.get(node.inputs[0] ?? '');
    if (!known || intOf(node, 'channels_last', 0) !== 0) return false;
    this.#builder.nodes.push({
      op: 'Reshape',
      domain: '',
      inputs: [known.five, this.#builder.ints([0, known.channels, 0, 0])],
      outputs: [output],
      attributes: {},
    });
    return true;
  }

  /** The same step in blocks; undefined when its inputs are not there, or the step is not known. */
  #inBlocks(node: OnnxNode): Blocked | undefined {
    const { op, domain, inputs } = node;
    const [first = ''] = inputs;
    if (domain === NCHWC && op === 'ReorderOutput') return this.#enter(node, first);
    const known = this.#known.get(first);
    if (op === 'Add' && this.#scaled.has(first)) return this.#affine(node);
    if (op === 'Mul' && known && node.outputs[0]?.endsWith(SCALED)) {
      this.#scaled.set(node.outputs[0], { layer: known, scale: inputs[1] ?? '' });
      return undefined;
    }
    if (op === 'LeakyRelu' && known && this.#activate(node, known)) return known;
    if (TOGETHER.has(op) && domain === '') return this.#together(node);
    if (!known || domain !== '') return undefined;
    if (op === 'Pad') return this.#pad(node, known);
    if (op === 'DepthToSpace') return this.#unfold(node, known);
    if (op === 'ScatterElements' && node.outputs[0]?.endsWith(RING)) return this.#ring(node, known);
    if (!BY_VALUE.has(op) || !inputs.slice(1).every((name) => name === '' || this.#isScalar(name)))
      return undefined;
    return { ...known, five: this.#builder.node(op, [known.five, ...inputs.slice(1)], node.attributes) };
  }

  #enter(node: OnnxNode, nominal: string): Blocked | undefined {
    const channels = intOf(node, 'channels', 0);
    // Means are small; what they are taken together with is better done in plain order.
    const maker = this.#model.nodes.find(({ outputs }) => outputs.includes(nominal));
    if (maker?.op === 'GlobalAveragePool') return undefined;
    if (intOf(node, 'channels_last', 0) !== 0 || channels % this.#block !== 0) return undefined;
    this.#nominal.set(node.outputs[0] ?? '', nominal);
    const shape = this.#builder.ints([0, channels / this.#block, 0, 0, this.#block]);
    return { five: this.#builder.node('Reshape', [nominal, shape]), channels };
  }

  /** A layer's means, taken in blocks and brought into plain order, which costs nothing at their size. */
  #mean(node: OnnxNode, output: string): boolean {
    const known = node.domain === '' ? this.#known.get(node.inputs[0] ?? '') : undefined;
    if (!known) return false;
    const mean = this.#builder.node('GlobalAveragePool', [this.#nominalOf(known)], {}, NCHWC);
    this.#plain(mean, known.channels, output);
    return true;
  }

  /** Some rows or columns of a layer: only these are brought into plain order. */
  #strip(node: OnnxNode, output: string): boolean {
    const [layer = '', from, to, axes] = node.inputs;
    const known = this.#known.get(layer);
    const along = this.#model.constants.get(axes ?? '')?.values ?? [];
    if (!known || along.length !== 1 || !from || !to || node.inputs.length > 4) return false;
    if (along[0] !== 2 && along[0] !== 3) return false;
    const strip = this.#builder.node('Slice', [known.five, from, to, axes ?? '']);
    this.#plain(this.#nominalOf({ ...known, five: strip }), known.channels, output);
    return true;
  }

  #plain(nominal: string, channels: number, output: string): void {
    this.#builder.nodes.push({
      op: 'ReorderOutput',
      domain: NCHWC,
      inputs: [nominal],
      outputs: [output],
      attributes: { channels: { int: channels } },
    });
  }

  /** The first and the last row (or column), put over a layer in blocks. */
  #ring(node: OnnxNode, known: Blocked): Blocked {
    const [, , plain = ''] = node.inputs;
    const builder = this.#builder;
    const blocks = known.channels / this.#block;
    const axis = intOf(node, 'axis', 0);
    const ends = builder.node('Reshape', [
      builder.node('ReorderInput', [plain], {}, NCHWC),
      builder.ints([0, blocks, 0, 0, this.#block]),
    ]);
    const inputs = [known.five, endsOf(builder, ends, axis, 5), ends];
    const five = builder.node('ScatterElements', inputs, { axis: { int: axis } });
    this.#sameSize(known.five, five, blocks);
    return { ...known, five };
  }

  /** Said to ONNX Runtime, which works in place only where it knows that sizes are equal; sizes that come with the picture
   * it does not know without names. */
  #sameSize(one: string, other: string, blocks: number): void {
    const known = this.#sized.find(({ name }) => name === one);
    const dims = known?.dims ?? [1, blocks, `${one}_rows`, `${one}_columns`, this.#block];
    for (const name of known ? [other] : [one, other]) this.#sized.push({ name, type: 'float32', dims });
  }

  /** A layer as rows whose sums are summed up further: rows of the blocks do as well. */
  #rows(node: OnnxNode): boolean {
    const [first = '', ...more] = node.inputs;
    const known = this.#known.get(first);
    if (known) this.#builder.nodes.push({ ...node, inputs: [this.#nominalOf(known), ...more] });
    return known !== undefined;
  }

  /** The products of each two channels: of each two blocks by themselves, which are put together at their small size. */
  #products(node: OnnxNode, output: string): boolean {
    const [first, second] = node.inputs;
    const { transB, ...attributes } = node.attributes;
    if (first !== second || !transB || first?.endsWith(ROWS)) return false;
    const rows = this.#view.producer(first);
    const known = rows?.op === 'Reshape' ? this.#known.get(rows.inputs[0] ?? '') : undefined;
    if (!known) return false;
    const builder = this.#builder;
    const [block, blocks] = [this.#block, known.channels / this.#block];
    const one = builder.node('Reshape', [known.five, builder.ints([blocks, 1, -1, block])]);
    const other = builder.node('Reshape', [known.five, builder.ints([1, blocks, -1, block])]);
    const pairs = builder.node('FusedMatMul', [one, other], { ...attributes, transA: { int: 1 } }, MICROSOFT);
    const joined = builder.node('Transpose', [pairs], { perm: { ints: [0, 2, 1, 3] } });
    const shape = builder.ints([known.channels, known.channels]);
    builder.nodes.push({
      op: 'Reshape',
      domain: '',
      inputs: [joined, shape],
      outputs: [output],
      attributes: {},
    });
    return true;
  }

  /** What to ask a value's shape of, so that nobody needs it in plain order for that. */
  #measurable(value: string): string | undefined {
    const known = this.#known.get(value);
    return this.#nominal.get(value) ?? (known && this.#nominalOf(known));
  }

  #nominalOf(known: Blocked): string {
    return this.#builder.node('Reshape', [known.five, this.#builder.ints([0, known.channels, 0, 0])]);
  }

  /** Scale and shift of each channel: a convolution of each by itself, whose weights are computed. */
  #affine(node: OnnxNode): Blocked | undefined {
    const found = this.#scaled.get(node.inputs[0] ?? '');
    if (!found) return undefined;
    const { layer, scale } = found;
    const builder = this.#builder;
    const weights = builder.node('Reshape', [scale, builder.ints([layer.channels, 1, 1, 1])]);
    const bias = builder.node('Reshape', [node.inputs[1] ?? '', builder.ints([layer.channels])]);
    const nominal = builder.node(
      'Conv',
      [this.#nominalOf(layer), weights, bias],
      {
        group: { int: layer.channels },
        kernel_shape: { ints: [1, 1] },
        strides: { ints: [1, 1] },
        dilations: { ints: [1, 1] },
        pads: { ints: [0, 0, 0, 0] },
      },
      NCHWC,
    );
    const shape = builder.ints([0, layer.channels / this.#block, 0, 0, this.#block]);
    const five = builder.node('Reshape', [nominal, shape]);
    if (this.#view.onlyConsumer(node.outputs[0])) this.#affines.set(five, nominal);
    return { five, channels: layer.channels };
  }

  /** An activation behind a scaling is done on its way out. */
  #activate(node: OnnxNode, known: Blocked): boolean {
    const nominal = this.#affines.get(known.five);
    const at = this.#builder.nodes.findIndex(({ outputs }) => outputs[0] === nominal);
    const conv = this.#builder.nodes[at];
    if (nominal === undefined || !conv) return false;
    const activation = { string: 'LeakyRelu' };
    const activation_params = { floats: [floatOf(node, 'alpha', 0.01)] };
    this.#builder.nodes[at] = { ...conv, attributes: { ...conv.attributes, activation, activation_params } };
    return true;
  }

  #pad(node: OnnxNode, known: Blocked): Blocked | undefined {
    const pads = this.#model.constants.get(node.inputs[1] ?? '');
    const [a, b, top = 0, left = 0, c, d, bottom = 0, right = 0, ...more] = pads?.values ?? [];
    if ([a, b, c, d].some((value) => value !== 0) || more.length > 0) return undefined;
    const five = this.#builder.ints([0, 0, top, left, 0, 0, 0, bottom, right, 0]);
    const inputs = [known.five, five, ...node.inputs.slice(2)];
    return { ...known, five: this.#builder.node('Pad', inputs, node.attributes) };
  }

  /** Two by two, phase before channel: whole blocks move, 64 bytes or so at a time. */
  #unfold(node: OnnxNode, known: Blocked): Blocked | undefined {
    const blocks = known.channels / 4 / this.#block;
    const plain = intOf(node, 'blocksize', 0) === 2 && stringOf(node, 'mode', 'DCR') === 'DCR';
    if (!plain || !Number.isInteger(blocks)) return undefined;
    const builder = this.#builder;
    const side = (axis: number) =>
      builder.node('Shape', [known.five], { start: { int: axis }, end: { int: axis + 1 } });
    const [height, width] = [side(2), side(3)];
    const join = (parts: string[]) => builder.node('Concat', parts, { axis: { int: 0 } });
    const block = builder.ints([this.#block]);
    const apart = builder.node('Reshape', [
      known.five,
      join([builder.ints([2, 2, blocks]), height, width, block]),
    ]);
    const woven = builder.node('Transpose', [apart], { perm: { ints: [2, 3, 0, 4, 1, 5] } });
    const twice = (length: string) => builder.node('Add', [length, length]);
    const five = builder.node('Reshape', [
      woven,
      join([builder.ints([1, blocks]), twice(height), twice(width), block]),
    ]);
    return { five, channels: known.channels / 4 };
  }

  /**
   * Two whole layers, or a layer and one number. One number a channel is left to plain order, where it is faster: there it
   * meets a row of its channel's values at a time, in blocks one block (measured: 60 instead of 58 ms for all of tiny).
   */
  #together(node: OnnxNode): Blocked | undefined {
    const sides = node.inputs.map((name) => this.#known.get(name));
    const lead = sides.find((side) => side !== undefined);
    if (!lead || !node.inputs.every((name, at) => sides[at] || this.#isScalar(name))) return undefined;
    const inputs = node.inputs.map((name, at) => sides[at]?.five ?? name);
    return { ...lead, five: this.#builder.node(node.op, inputs) };
  }

  #isScalar(name: string): boolean {
    return this.#model.constants.get(name)?.values.length === 1;
  }
}
