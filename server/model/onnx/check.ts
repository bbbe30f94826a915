// Looks into an ONNX file, without ONNX Runtime, for data that would be read from other files, and for tensors that claim
// more values than the file has. Pure.
// External data is a path inside the model: CVE-2026-27489 and its kin read files through it. Here it is refused.

/** Protobuf fields of onnx.proto3 that lead to tensors, message by message. */
const TREE: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  ModelProto: { 7: 'GraphProto', 20: 'TrainingInfoProto', 25: 'FunctionProto' },
  TrainingInfoProto: { 1: 'GraphProto', 2: 'GraphProto' },
  FunctionProto: { 7: 'NodeProto', 11: 'AttributeProto' },
  GraphProto: { 1: 'NodeProto', 5: 'TensorProto', 15: 'SparseTensorProto' },
  NodeProto: { 5: 'AttributeProto' },
  AttributeProto: {
    5: 'TensorProto',
    6: 'GraphProto',
    10: 'TensorProto',
    11: 'GraphProto',
    22: 'SparseTensorProto',
    23: 'SparseTensorProto',
  },
  SparseTensorProto: { 1: 'TensorProto', 2: 'TensorProto' },
  TensorProto: {},
};
const DIMS = 1;
const EXTERNAL_DATA = 13;
const DATA_LOCATION = 14;
const DEEPEST = 64;
/** The smallest elements, of four bits, are two a byte. */
const MOST_ELEMENTS_A_BYTE = 2;

/** What the look says. */
export type OnnxVerdict =
  | { readonly kind: 'self-contained' }
  | { readonly kind: 'external-data' }
  | { readonly kind: 'overclaims' }
  | { readonly kind: 'not-onnx' };

/** Whether the bytes are an ONNX model, and whether the model keeps all its data to itself. */
export function checkOnnx(bytes: Uint8Array): OnnxVerdict {
  const seen: Seen = { external: false, graph: false, overclaims: false };
  try {
    walk(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 'ModelProto', seen, 0);
  } catch (error) {
    if (error instanceof RangeError) return { kind: 'not-onnx' };
    throw error;
  }
  if (!seen.graph) return { kind: 'not-onnx' };
  if (seen.external) return { kind: 'external-data' };
  return { kind: seen.overclaims ? 'overclaims' : 'self-contained' };
}

interface Seen {
  external: boolean;
  graph: boolean;
  overclaims: boolean;
}

function walk(data: Buffer, message: string, seen: Seen, depth: number): void {
  if (depth > DEEPEST) throw new RangeError('nested too deeply');
  if (message === 'GraphProto') seen.graph = true;
  const children = TREE[message] ?? {};
  let at = 0;
  let elements: number | undefined;
  const claim = (dim: number) => {
    elements = (elements ?? 1) * dim;
  };
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = data[at++];
      if (byte === undefined) throw new RangeError('cut off');
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('no number');
  };
  while (at < data.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case 0: {
        const value = varint();
        if (message === 'TensorProto' && field === DIMS) claim(value);
        if (message === 'TensorProto' && field === DATA_LOCATION && value !== 0) seen.external = true;
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const end = varint() + at;
        if (end > data.length) throw new RangeError('cut off');
        if (message === 'TensorProto' && field === EXTERNAL_DATA) seen.external = true;
        if (message === 'TensorProto' && field === DIMS) while (at < end) claim(varint());
        const child = children[field];
        if (child) walk(data.subarray(at, end), child, seen, depth + 1);
        at = end;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new RangeError('no such wire type');
    }
  }
  if (at !== data.length) throw new RangeError('cut off');
  if (message === 'TensorProto' && (elements ?? 0) > data.length * MOST_ELEMENTS_A_BYTE)
    seen.overclaims = true;
}
