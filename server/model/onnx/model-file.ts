// ONNX files as plain values, both ways. Only what generators use is read: what else a file holds (functions, training,
// sparse tensors, graphs inside nodes) makes it unreadable here, loudly, and the file goes on being served as it is. Pure.
// Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

import { bytes, type Field, fields, float, floats, int, join, packedInts, text } from './wire.ts';

/** Element types of TensorProto.DataType that rewriting works on. */
export const DATA_TYPE = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7 } as const;
export type ElementType = keyof typeof DATA_TYPE;

/** A constant. Its values are numbers of its type, row by row. */
export interface OnnxTensor {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly values: Float32Array | Uint8Array | Int8Array | Int32Array | Float64Array;
}

/** `float` is told apart from `int` by the author: in JavaScript 2 and 2.0 are one value. */
export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly tensor: OnnxTensor };

/** One step of a graph. An empty input name stands for an input that is left out. */
export interface OnnxNode {
  readonly op: string;
  /** Empty for the operators of ONNX itself. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A graph input or output; a dimension given by name is free. */
export interface OnnxPort {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly (number | string)[];
}

/** A model file. */
export interface OnnxModel {
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly properties: Readonly<Record<string, string>>;
  readonly name: string;
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  readonly nodes: readonly OnnxNode[];
  readonly constants: ReadonlyMap<string, OnnxTensor>;
  /** What is known of values inside; never read from a file. */
  readonly values?: readonly OnnxPort[];
}

/** Why a file cannot be rewritten. */
export class UnreadableModel extends Error {
  override readonly name = 'UnreadableModel';
}

/**
 * Reads a model file.
 * @throws {UnreadableModel} for what is no ONNX, or has parts that rewriting does not understand.
 */
export function readModel(file: Uint8Array): OnnxModel {
  try {
    return model(file);
  } catch (error) {
    if (error instanceof RangeError)
      throw new UnreadableModel(`it is no ONNX file: ${error.message}`, { cause: error });
    throw error;
  }
}

function model(file: Uint8Array): OnnxModel {
  let irVersion = 0;
  let graph: Uint8Array | undefined;
  const opsets: Record<string, number> = {};
  const properties: Record<string, string> = {};
  for (const field of fields(file)) {
    if (field.number === 1) irVersion = number(field);
    if (field.number === 7) graph = message(field);
    if (field.number === 8) {
      const { first, second } = pair(message(field));
      opsets[first === 'ai.onnx' ? '' : first] = second;
    }
    if (field.number === 14) {
      const parts = [...fields(message(field))];
      properties[words(parts.find((part) => part.number === 1))] = words(
        parts.find((part) => part.number === 2),
      );
    }
    if (field.number === 20 || field.number === 25)
      throw new UnreadableModel('it has functions or training parts');
  }
  if (!graph) throw new RangeError('it has no graph');
  return { irVersion, opsets, properties, ...readGraph(graph) };
}

function pair(of: Uint8Array): { first: string; second: number } {
  const parts = [...fields(of)];
  const second = parts.find((part) => part.number === 2);
  return { first: words(parts.find((part) => part.number === 1)), second: second ? number(second) : 0 };
}

function readGraph(
  graph: Uint8Array,
): Pick<OnnxModel, 'name' | 'inputs' | 'outputs' | 'nodes' | 'constants'> {
  let name = '';
  const nodes: OnnxNode[] = [];
  const constants = new Map<string, OnnxTensor>();
  const inputs: OnnxPort[] = [];
  const outputs: OnnxPort[] = [];
  for (const field of fields(graph)) {
    if (field.number === 1) nodes.push(readNode(message(field)));
    if (field.number === 2) name = words(field);
    if (field.number === 5) {
      const { name: constant, tensor } = readTensor(message(field));
      constants.set(constant, tensor);
    }
    if (field.number === 11) inputs.push(readPort(message(field)));
    if (field.number === 12) outputs.push(readPort(message(field)));
    if (field.number === 15) throw new UnreadableModel('it has sparse tensors');
  }
  // Constants written as steps are constants all the same.
  const steps = nodes.filter((node) => {
    const value = node.op === 'Constant' ? constantOf(node) : undefined;
    if (value) constants.set(node.outputs[0] ?? '', value);
    return !value;
  });
  return {
    name,
    nodes: steps,
    constants,
    inputs: inputs.filter((port) => !constants.has(port.name)),
    outputs,
  };
}

function constantOf({ attributes }: OnnxNode): OnnxTensor | undefined {
  const { value, value_float: float, value_int: int, value_ints: ints, value_floats: floats } = attributes;
  if (value && 'tensor' in value) return value.tensor;
  if (float && 'float' in float) return { type: 'float32', dims: [], values: Float32Array.of(float.float) };
  if (int && 'int' in int) return { type: 'int64', dims: [], values: Float64Array.of(int.int) };
  if (ints && 'ints' in ints)
    return { type: 'int64', dims: [ints.ints.length], values: Float64Array.from(ints.ints) };
  if (floats && 'floats' in floats)
    return { type: 'float32', dims: [floats.floats.length], values: Float32Array.from(floats.floats) };
  return undefined;
}

function readNode(node: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes: Record<string, Attribute> = {};
  let [op, domain] = ['', ''];
  for (const field of fields(node)) {
    if (field.number === 1) inputs.push(words(field));
    if (field.number === 2) outputs.push(words(field));
    if (field.number === 4) op = words(field);
    if (field.number === 7) domain = words(field);
    if (field.number === 5) {
      const { name, value } = readAttribute(message(field));
      attributes[name] = value;
    }
  }
  return { op, domain: domain === 'ai.onnx' ? '' : domain, inputs, outputs, attributes };
}

/** The attribute's kind is in field 20; a value of zero may be left out of the file. */
function readAttribute(attribute: Uint8Array): { name: string; value: Attribute } {
  const parts = [...fields(attribute)];
  const find = (wanted: number) => parts.filter((part) => part.number === wanted);
  const name = words(find(1)[0]);
  const [kind] = find(20);
  const [single] = [2, 3, 4, 5].map((each) => find(each)[0]).filter((part) => part !== undefined);
  switch (kind ? number(kind) : single && [0, 0, 1, 2, 3, 4][single.number]) {
    case 1: {
      const [value] = find(2);
      return { name, value: { float: value ? (floats(raw(value))[0] ?? 0) : 0 } };
    }
    case 2: {
      const [value] = find(3);
      return { name, value: { int: value ? number(value) : 0 } };
    }
    case 3:
      return { name, value: { string: words(find(4)[0]) } };
    case 4: {
      const [value] = find(5);
      if (!value) throw new RangeError('an attribute without its tensor');
      return { name, value: { tensor: readTensor(message(value)).tensor } };
    }
    case 6:
      return { name, value: { floats: find(7).flatMap((part) => [...floats(raw(part))]) } };
    case 7:
      return { name, value: { ints: find(8).flatMap(whole) } };
    default:
      throw new UnreadableModel(`it has an attribute ${name} of a kind that is not understood`);
  }
}

function readTensor(tensor: Uint8Array): { name: string; tensor: OnnxTensor } {
  const dims: number[] = [];
  let [name, type] = ['', 0];
  let values: Uint8Array | undefined;
  const listed: Field[] = [];
  for (const field of fields(tensor)) {
    if (field.number === 1) dims.push(...whole(field));
    if (field.number === 2) type = number(field);
    if (field.number === 8) name = words(field);
    if (field.number === 9) values = message(field);
    if ([4, 5, 7].includes(field.number)) listed.push(field);
    if (field.number === 13 || (field.number === 14 && number(field) !== 0))
      throw new UnreadableModel('it keeps data outside of its file');
  }
  const known = (Object.keys(DATA_TYPE) as ElementType[]).find((each) => DATA_TYPE[each] === type);
  if (!known) throw new UnreadableModel(`constant ${name} has element type ${type}, which is not understood`);
  const size = dims.reduce((product, dim) => product * dim, 1);
  const content = values ? fromRaw(known, values) : fromList(known, listed);
  if (content.length !== size)
    throw new RangeError(`constant ${name} claims ${size} values and has ${content.length}`);
  return { name, tensor: { type: known, dims, values: content } };
}

function fromRaw(type: ElementType, content: Uint8Array): OnnxTensor['values'] {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  switch (type) {
    case 'float32':
      return floats(content);
    case 'uint8':
      return Uint8Array.from(content);
    case 'int8':
      return Int8Array.from(content, (byte) => (byte << 24) >> 24);
    case 'int32':
      return Int32Array.from({ length: content.length >> 2 }, (_, at) => view.getInt32(at * 4, true));
    case 'int64':
      return Float64Array.from({ length: content.length >> 3 }, (_, at) =>
        Number(view.getBigInt64(at * 8, true)),
      );
  }
}

function fromList(type: ElementType, listed: readonly Field[]): OnnxTensor['values'] {
  if (type === 'float32') return Float32Array.from(listed.flatMap((part) => [...floats(raw(part))]));
  const values = listed.flatMap(whole);
  switch (type) {
    case 'uint8':
      return Uint8Array.from(values);
    case 'int8':
      return Int8Array.from(values);
    case 'int32':
      return Int32Array.from(values);
    case 'int64':
      return Float64Array.from(values);
  }
}

/** ValueInfoProto → TypeProto → TypeProto.Tensor → TensorShapeProto. */
function readPort(port: Uint8Array): OnnxPort {
  const inside = (of: Uint8Array, wanted: number) => {
    for (const field of fields(of)) if (field.number === wanted) return message(field);
    return new Uint8Array();
  };
  const tensorType = inside(inside(port, 2), 1);
  const parts = [...fields(tensorType)];
  const type = parts.find((part) => part.number === 1);
  const known = (Object.keys(DATA_TYPE) as ElementType[]).find(
    (each) => type && DATA_TYPE[each] === number(type),
  );
  if (!known) throw new UnreadableModel('its input or output is of a type that is not understood');
  const dims = [...fields(inside(tensorType, 2))].map((dim) => {
    const [value] = fields(message(dim));
    return value?.kind === 'int' ? value.value : words(value);
  });
  let name = '';
  for (const field of fields(port)) if (field.number === 1) name = words(field);
  return { name, type: known, dims };
}

function number(field: Field): number {
  if (field.kind !== 'int') throw new RangeError(`field ${field.number} is no number`);
  return field.value;
}

function message(field: Field): Uint8Array {
  if (field.kind !== 'bytes') throw new RangeError(`field ${field.number} is no message`);
  return field.value;
}

function raw(field: Field): Uint8Array {
  if (field.kind === 'int') throw new RangeError(`field ${field.number} is no bytes`);
  return field.value;
}

function whole(field: Field): number[] {
  return field.kind === 'int' ? [field.value] : packedInts(message(field));
}

function words(field: Field | undefined): string {
  return field ? new TextDecoder().decode(message(field)) : '';
}

// ---- writing ----

/** The bytes of a model file; the same model gives the same bytes. */
export function writeModel(model: OnnxModel): Uint8Array {
  const graph = join(
    ...model.nodes.map((each) => bytes(1, writeNode(each))),
    text(2, model.name),
    ...[...model.constants].map(([name, tensor]) => bytes(5, writeTensor(name, tensor))),
    ...model.inputs.map((each) => bytes(11, writePort(each))),
    ...model.outputs.map((each) => bytes(12, writePort(each))),
    ...(model.values ?? []).map((each) => bytes(13, writePort(each))),
  );
  return join(
    int(1, model.irVersion),
    text(2, 'toonfleet'),
    bytes(7, graph),
    ...Object.entries(model.opsets).map(([domain, version]) =>
      bytes(8, join(text(1, domain), int(2, version))),
    ),
    ...Object.entries(model.properties).map(([key, value]) => bytes(14, join(text(1, key), text(2, value)))),
  );
}

function writeNode(node: OnnxNode): Uint8Array {
  return join(
    ...node.inputs.map((name) => text(1, name)),
    ...node.outputs.map((name) => text(2, name)),
    text(3, node.outputs[0] ?? ''),
    text(4, node.op),
    ...Object.entries(node.attributes).map(([name, value]) => bytes(5, writeAttribute(name, value))),
    ...(node.domain === '' ? [] : [text(7, node.domain)]),
  );
}

function writeAttribute(name: string, value: Attribute): Uint8Array {
  if ('int' in value) return join(text(1, name), int(3, value.int), int(20, 2));
  if ('ints' in value) return join(text(1, name), ...value.ints.map((each) => int(8, each)), int(20, 7));
  if ('float' in value) return join(text(1, name), float(2, value.float), int(20, 1));
  if ('floats' in value)
    return join(text(1, name), ...value.floats.map((each) => float(7, each)), int(20, 6));
  if ('tensor' in value) return join(text(1, name), bytes(5, writeTensor('', value.tensor)), int(20, 4));
  return join(text(1, name), text(4, value.string), int(20, 3));
}

function writeTensor(name: string, { type, dims, values }: OnnxTensor): Uint8Array {
  return join(
    ...dims.map((dim) => int(1, dim)),
    int(2, DATA_TYPE[type]),
    text(8, name),
    bytes(9, toRaw(type, values)),
  );
}

function toRaw(type: ElementType, values: OnnxTensor['values']): Uint8Array {
  const width = { float32: 4, uint8: 1, int8: 1, int32: 4, int64: 8 }[type];
  const view = new DataView(new ArrayBuffer(values.length * width));
  values.forEach((value, index) => {
    const at = index * width;
    if (type === 'float32') view.setFloat32(at, value, true);
    else if (type === 'int32') view.setInt32(at, value, true);
    else if (type === 'int64') view.setBigInt64(at, BigInt(value), true);
    else view.setInt8(at, value);
  });
  return new Uint8Array(view.buffer);
}

function writePort({ name, type, dims }: OnnxPort): Uint8Array {
  const shape = join(...dims.map((dim) => bytes(1, typeof dim === 'number' ? int(1, dim) : text(2, dim))));
  const tensorType = join(int(1, DATA_TYPE[type]), bytes(2, shape));
  return join(text(1, name), bytes(2, bytes(1, tensorType)));
}
