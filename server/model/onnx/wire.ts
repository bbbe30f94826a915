// Protobuf's wire, both ways: a tag (field number and kind), then a varint (0), eight bytes (1), a length and bytes (2) or
// four bytes (5). Knows no message. Pure.

/** The bytes of one field with a whole number; negative ones are 64-bit two's complement. */
export function int(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint((field << 3) | 0), ...varint(value)]);
}

/** The bytes of one field with bytes or a message inside. */
export function bytes(field: number, value: Uint8Array): Uint8Array {
  return join(Uint8Array.from([...varint((field << 3) | 2), ...varint(value.length)]), value);
}

/** The bytes of one field with a text. */
export function text(field: number, value: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(value));
}

/** The bytes of one field with a 32-bit float. */
export function float(field: number, value: number): Uint8Array {
  const four = new DataView(new ArrayBuffer(4));
  four.setFloat32(0, value, true);
  return join(Uint8Array.from(varint((field << 3) | 5)), new Uint8Array(four.buffer));
}

/** Fields one after the other: a message. */
export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Seven bits at a time, lowest first. */
function varint(value: number): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const groups: number[] = [];
  while (rest > 0x7fn) {
    groups.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return [...groups, Number(rest)];
}

/** One field as it was read. Whole numbers beyond 2^53 lose their last bits. */
export type Field =
  | { readonly number: number; readonly kind: 'int'; readonly value: number }
  | { readonly number: number; readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly number: number; readonly kind: 'fixed32' | 'fixed64'; readonly value: Uint8Array };

/**
 * The fields of a message, in their order.
 * @throws {RangeError} when the bytes are no protobuf message.
 */
export function* fields(message: Uint8Array): Generator<Field> {
  const reader = { message, at: 0 };
  while (reader.at < message.length) {
    const key = readVarint(reader);
    const number = key / 8n;
    yield readField(reader, Number(number), Number(key % 8n));
  }
}

function readField(reader: Reader, number: number, kind: number): Field {
  switch (kind) {
    case 0:
      return { number, kind: 'int', value: Number(BigInt.asIntN(64, readVarint(reader))) };
    case 1:
      return { number, kind: 'fixed64', value: take(reader, 8) };
    case 2:
      return { number, kind: 'bytes', value: take(reader, Number(readVarint(reader))) };
    case 5:
      return { number, kind: 'fixed32', value: take(reader, 4) };
    default:
      throw new RangeError('no such wire type');
  }
}

/** Whole numbers of a packed field. */
export function packedInts(packed: Uint8Array): number[] {
  const reader = { message: packed, at: 0 };
  const values: number[] = [];
  while (reader.at < packed.length) values.push(Number(BigInt.asIntN(64, readVarint(reader))));
  return values;
}

/** Little-endian 32-bit floats. */
export function floats(raw: Uint8Array): Float32Array {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Float32Array.from({ length: raw.length >> 2 }, (_, index) => view.getFloat32(index * 4, true));
}

interface Reader {
  readonly message: Uint8Array;
  at: number;
}

function take(reader: Reader, length: number): Uint8Array {
  const end = reader.at + length;
  if (end > reader.message.length) throw new RangeError('cut off');
  const taken = reader.message.subarray(reader.at, end);
  reader.at = end;
  return taken;
}

function readVarint(reader: Reader): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.message[reader.at++];
    if (byte === undefined) throw new RangeError('cut off');
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw new RangeError('no number');
}
