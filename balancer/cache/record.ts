// A kept picture as bytes for a store that others can write to, and back. Pure.
//
// magic (4) | HMAC-SHA-256 (32) | length of the headers (4) | headers as JSON | the picture
//
// The HMAC covers the name under which the record lies and everything behind itself: a record that was damaged, cut,
// or copied to another name is no record. With `node.key` set nobody without that key can make one.

import { createHmac, timingSafeEqual } from 'node:crypto';

/** A picture that was drawn, with the headers that belong to it. */
export interface Kept {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const MAGIC = Buffer.from('TFC1');
const MAC_BYTES = 32;
const LENGTH_AT = MAGIC.length + MAC_BYTES;
const HEADERS_AT = LENGTH_AT + 4;

/** A picture as a record. */
export function toRecord(name: string, { headers, body }: Kept, secret: string): Buffer {
  const head = Buffer.from(JSON.stringify(headers));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return Buffer.concat([MAGIC, macOf(name, [length, head, body], secret), length, head, body]);
}

/** The picture in a record; undefined when the bytes are not what was written under this name. */
export function fromRecord(name: string, record: Buffer, secret: string): Kept | undefined {
  if (record.length < HEADERS_AT || !record.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const mac = record.subarray(MAGIC.length, LENGTH_AT);
  if (!timingSafeEqual(mac, macOf(name, [record.subarray(LENGTH_AT)], secret))) return undefined;
  const bodyAt = HEADERS_AT + record.readUInt32BE(LENGTH_AT);
  const headers = JSON.parse(record.toString('utf8', HEADERS_AT, bodyAt)) as Record<string, string>;
  return { headers, body: record.subarray(bodyAt) };
}

function macOf(name: string, parts: readonly Buffer[], secret: string): Buffer {
  const mac = createHmac('sha256', secret).update(`${name}\n`);
  for (const part of parts) mac.update(part);
  return mac.digest();
}
