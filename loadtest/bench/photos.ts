// Photos as a client sends them: multipart bodies of which no two have the same bytes, at the cost of one copy each.

import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One photo, ready to be sent any number of times. */
export interface Photo {
  readonly name: string;
  readonly bytes: Buffer;
}

/** All JPEG photos of a folder, by name. */
export function readPhotos(folder: string): Photo[] {
  return readdirSync(folder)
    .filter((name) => /\.jpe?g$/i.test(name))
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
}

/** A multipart body and its content type. */
export interface Upload {
  readonly contentType: string;
  readonly body: Buffer;
}

/** How many digits number a copy of a photo. */
const SERIAL_LENGTH = 20;

/** Makes uploads of a photo: each carries its own number in a JPEG comment, so caches have nothing to recognise. */
export function uploadsOf(
  photo: Photo,
  fields: Readonly<Record<string, string>>,
): (serial: number) => Upload {
  const boundary = `toonfleet-${randomUUID()}`;
  const part = (disposition: string) => `--${boundary}\r\ncontent-disposition: form-data; ${disposition}\r\n`;
  const texts = Object.entries(fields).map(([name, value]) => `${part(`name="${name}"`)}\r\n${value}\r\n`);
  const head = `${texts.join('')}${part(`name="file"; filename="${photo.name}"`)}content-type: image/jpeg\r\n\r\n`;
  const comment = Buffer.concat([
    Buffer.from([0xff, 0xfe, 0, SERIAL_LENGTH + 2]),
    Buffer.alloc(SERIAL_LENGTH),
  ]);
  const template = Buffer.concat([
    Buffer.from(head),
    photo.bytes.subarray(0, 2),
    comment,
    photo.bytes.subarray(2),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const serialAt = Buffer.byteLength(head) + 2 + 4;
  return (serial) => {
    const body = Buffer.from(template);
    body.write(String(serial).padStart(SERIAL_LENGTH, '0'), serialAt, 'latin1');
    return { contentType: `multipart/form-data; boundary=${boundary}`, body };
  };
}
