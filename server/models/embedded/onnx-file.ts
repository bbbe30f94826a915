// Writes ONNX files: the few protobuf messages a graph needs, byte for byte the same on every run.
// Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

import { bytes, float, int, join, text } from '../../model/onnx/wire.ts';

/** Element types of TensorProto.DataType that the looks use. */
export const dataType = { float: 1, uint8: 2, int64: 7 } as const;

/** A constant stored in the file. */
export type Tensor = {
  readonly name: string;
  readonly type: 'float' | 'int64';
  readonly dims: readonly number[];
  readonly values: readonly number[];
};

/** `float` is told apart from `int` by the author: in JavaScript 2 and 2.0 are one value. */
export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly string: string };

export type Node = {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
};

/** A graph input or output; a dimension given by name is free. */
export type Port = {
  readonly name: string;
  readonly type: keyof typeof dataType;
  readonly dims: readonly (number | string)[];
};

export type Model = {
  readonly name: string;
  readonly description: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly nodes: readonly Node[];
  readonly constants: readonly Tensor[];
};

/** Opset 17 is the newest that needs no change in the operators used here; IR version 8 came with it. */
const opset = 17;
const irVersion = 8;

/** The bytes of a ModelProto. */
export function encodeModel(model: Model): Uint8Array {
  return join(
    int(1, irVersion),
    text(2, 'toonfleet'),
    text(6, model.description),
    bytes(7, graph(model)),
    bytes(8, join(text(1, ''), int(2, opset))),
    ...Object.entries(model.properties).map(([key, value]) => bytes(14, join(text(1, key), text(2, value)))),
  );
}

function graph(model: Model): Uint8Array {
  return join(
    ...model.nodes.map((each) => bytes(1, node(each))),
    text(2, model.name),
    ...model.constants.map((each) => bytes(5, tensor(each))),
    ...model.inputs.map((each) => bytes(11, port(each))),
    ...model.outputs.map((each) => bytes(12, port(each))),
  );
}

function node(each: Node): Uint8Array {
  return join(
    ...each.inputs.map((name) => text(1, name)),
    text(2, each.output),
    text(3, each.output),
    text(4, each.op),
    ...Object.entries(each.attributes).map(([name, value]) => bytes(5, attribute(name, value))),
  );
}

/** AttributeProto: the value in its own field, its kind again in field 20. */
function attribute(name: string, value: Attribute): Uint8Array {
  if ('int' in value) return join(text(1, name), int(3, value.int), int(20, 2));
  if ('ints' in value) return join(text(1, name), ...value.ints.map((each) => int(8, each)), int(20, 7));
  if ('float' in value) return join(text(1, name), float(2, value.float), int(20, 1));
  return join(text(1, name), text(4, value.string), int(20, 3));
}

function tensor(each: Tensor): Uint8Array {
  const width = each.type === 'float' ? 4 : 8;
  const raw = new DataView(new ArrayBuffer(each.values.length * width));
  each.values.forEach((value, index) => {
    if (each.type === 'float') raw.setFloat32(index * width, value, true);
    else raw.setBigInt64(index * width, BigInt(value), true);
  });
  return join(
    ...each.dims.map((dim) => int(1, dim)),
    int(2, dataType[each.type]),
    text(8, each.name),
    bytes(9, new Uint8Array(raw.buffer)),
  );
}

/** ValueInfoProto → TypeProto → TypeProto.Tensor → TensorShapeProto. */
function port(each: Port): Uint8Array {
  const shape = join(
    ...each.dims.map((dim) => bytes(1, typeof dim === 'number' ? int(1, dim) : text(2, dim))),
  );
  const type = join(int(1, dataType[each.type]), bytes(2, shape));
  return join(text(1, each.name), bytes(2, bytes(1, type)));
}
