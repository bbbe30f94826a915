// Gives every sent picture bytes of its own, so that no cache on the way can answer in a worker's place. The pixels
// stay: only a comment is added where the format has room for one. Pure; copies nothing but the comment.

import { crc32 } from 'node:zlib';
import { type PictureKind, readPictureHeader } from '../config/picture.ts';

/** A picture cut at the place where a comment goes. */
export interface Cut {
  readonly kind: PictureKind;
  readonly before: Buffer;
  readonly after: Buffer;
}

/** How many bytes a mark adds, at most; it is the same for every number, so that lengths can be computed ahead. */
const DIGITS = 16;

/**
 * Finds the place for a comment.
 * @throws {ToonError} when these bytes are not a JPEG, PNG or WebP.
 */
export function cut(picture: Buffer): Cut {
  const { kind } = readPictureHeader(picture);
  switch (kind) {
    case 'jpeg':
      return split(kind, picture, endOfFirstSegment(picture));
    case 'png':
      // Signature (8) and IHDR (12 + 13): the first place where a text chunk may stand.
      return split(kind, picture, 33);
    case 'webp':
      return split(kind, riffHeadFor(picture), picture.length);
  }
}

/** The comment that number `n` puts between the two halves of a {@link Cut}. */
export function mark(kind: PictureKind, n: number): Buffer {
  const text = Buffer.from(n.toString(16).padStart(DIGITS, '0'), 'latin1');
  switch (kind) {
    case 'jpeg': {
      const segment = Buffer.alloc(4 + DIGITS);
      segment.writeUInt16BE(0xfffe, 0);
      segment.writeUInt16BE(2 + DIGITS, 2);
      text.copy(segment, 4);
      return segment;
    }
    case 'png': {
      const data = Buffer.concat([Buffer.from('tEXtComment\0', 'latin1'), text]);
      const chunk = Buffer.alloc(8 + data.length);
      chunk.writeUInt32BE(data.length - 4, 0);
      data.copy(chunk, 4);
      chunk.writeUInt32BE(crc32(data), 4 + data.length);
      return chunk;
    }
    case 'webp': {
      const chunk = Buffer.alloc(8 + DIGITS);
      chunk.write('TOON', 0, 'latin1');
      chunk.writeUInt32LE(DIGITS, 4);
      text.copy(chunk, 8);
      return chunk;
    }
  }
}

function split(kind: PictureKind, bytes: Buffer, at: number): Cut {
  return { kind, before: bytes.subarray(0, at), after: bytes.subarray(at) };
}

/** Behind SOI and the first segment: JFIF and Exif want to be first, a comment does not mind to be second. */
function endOfFirstSegment(jpeg: Buffer): number {
  const marker = jpeg.length >= 6 ? jpeg.readUInt16BE(2) : 0;
  return marker >= 0xffe0 && marker <= 0xffef ? Math.min(jpeg.length, 4 + jpeg.readUInt16BE(4)) : 2;
}

/** A WebP whose container is told of the chunk that will follow. */
function riffHeadFor(webp: Buffer): Buffer {
  const copy = Buffer.from(webp.subarray(0, webp.readUInt32LE(4) + 8));
  copy.writeUInt32LE(copy.length - 8 + 8 + DIGITS, 4);
  return copy;
}
