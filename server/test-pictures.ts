// Pictures for tests, drawn by code: good ones in every colour space, and bad ones in every way that is promised.

import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { drawPicture } from './model/golden.ts';

/** A drawn scene as a sharp image. */
export function scene(width = 96, height = 64, seed = 3) {
  return sharp(drawPicture(width, height, seed), { raw: { width, height, channels: 3 } });
}

/** A drawn scene as JPEG. */
export const jpeg = (width = 96, height = 64, seed = 3) =>
  scene(width, height, seed).jpeg({ quality: 92 }).toBuffer();
/** A drawn scene as PNG. */
export const png = (width = 96, height = 64, seed = 3) => scene(width, height, seed).png().toBuffer();
/** A drawn scene as WebP. */
export const webp = (width = 96, height = 64, seed = 3) =>
  scene(width, height, seed).webp({ quality: 92 }).toBuffer();

/** Random bytes from a seed. */
export function noise(length: number, seed = 1): Buffer {
  let state = seed;
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state >>> 16;
    }),
  );
}

/** A PNG of one colour that says it is as large as one likes, in a few bytes a row. */
export function pngBomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const rows = deflateSync(Buffer.alloc((width + 1) * Math.min(height, 200)));
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', rows),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, crc]);
}

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Mean distance of two pictures' pixels, of 255; they have the same size. */
export async function distance(one: Uint8Array, other: Uint8Array): Promise<number> {
  const [a, b] = await Promise.all(
    [one, other].map((bytes) =>
      sharp(bytes).toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true }),
    ),
  );
  if (!a || !b || a.info.width !== b.info.width || a.info.height !== b.info.height)
    throw new Error(`sizes differ: ${a?.info.width}×${a?.info.height}, ${b?.info.width}×${b?.info.height}`);
  let sum = 0;
  for (let at = 0; at < a.data.length; at++) sum += Math.abs((a.data[at] ?? 0) - (b.data[at] ?? 0));
  return sum / a.data.length;
}
