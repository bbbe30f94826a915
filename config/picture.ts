// Tells what kind of picture some bytes are and how large, from the first bytes alone and without decoding.
// Pure. It trusts no name and no content type, and refuses what the service does not read.

import { ToonError } from './errors.ts';

/** The kinds that are read, and that answers can have. */
export const pictureKinds = ['jpeg', 'png', 'webp'] as const;
export type PictureKind = (typeof pictureKinds)[number];

/** What the header of a picture says. Sides are px as stored, before any EXIF turn; absent where the header is cut. */
export interface PictureHeader {
  readonly kind: PictureKind;
  readonly width?: number;
  readonly height?: number;
}

/** A picture's shorter side must have at least this many px. */
export const MIN_SIDE_PX = 16;

/** Formats that are known well enough to be named in the refusal. */
const UNREAD: readonly (readonly [name: string, offset: number, magic: string])[] = [
  ['GIF', 0, 'GIF8'],
  ['TIFF', 0, 'II*\0'],
  ['TIFF', 0, 'MM\0*'],
  ['BMP', 0, 'BM'],
  ['PDF', 0, '%PDF'],
  ['JPEG XL', 0, '\xff\x0a'],
  ['JPEG 2000', 4, 'jP  '],
  ['Photoshop', 0, '8BPS'],
  ['ICO', 0, '\0\0\x01\0'],
];

/**
 * Reads a picture's header.
 * @throws {ToonError} `empty_image` for no bytes, `unsupported_image` for anything but JPEG, PNG and WebP.
 */
export function readPictureHeader(bytes: Uint8Array): PictureHeader {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (data.length === 0) throw new ToonError('empty_image', { detail: 'The picture has no bytes.' });
  if (data.length >= 3 && data[0] === 0xff && data[1] === 0xd8 && data[2] === 0xff)
    return { kind: 'jpeg', ...jpegSize(data) };
  if (has(data, 0, '\x89PNG\r\n\x1a\n')) return { kind: 'png', ...pngSize(data) };
  if (has(data, 0, 'RIFF') && has(data, 8, 'WEBP')) return { kind: 'webp', ...webpSize(data) };
  throw new ToonError('unsupported_image', { detail: `${nameUnread(data)} JPEG, PNG and WebP are read.` });
}

/**
 * Judges a header against the limits, so that nobody pays for decoding what is refused anyway.
 * @throws {ToonError} `image_too_large`, `image_too_small` or `broken_image`.
 */
export function checkPictureSize(
  { width, height }: Pick<PictureHeader, 'width' | 'height'>,
  maxPixels: number,
): void {
  if (width === undefined || height === undefined) return;
  if (width === 0 || height === 0)
    throw new ToonError('broken_image', { detail: `The picture says it is ${width}×${height} px.` });
  if (width * height > maxPixels) {
    throw new ToonError('image_too_large', {
      detail: `The picture has ${width}×${height} px; at most ${maxPixels} pixels are read.`,
    });
  }
  if (Math.min(width, height) < MIN_SIDE_PX) {
    throw new ToonError('image_too_small', {
      detail: `The picture has ${width}×${height} px; each side needs at least ${MIN_SIDE_PX} px.`,
    });
  }
}

function has(data: Buffer, offset: number, magic: string): boolean {
  return (
    data.length >= offset + magic.length && data.toString('latin1', offset, offset + magic.length) === magic
  );
}

function nameUnread(data: Buffer): string {
  const known = UNREAD.find(([, offset, magic]) => has(data, offset, magic));
  if (known) return `This is a ${known[0]} file.`;
  if (has(data, 4, 'ftyp')) {
    const brand = data.toString('latin1', 8, 12);
    return `This is ${brand.startsWith('avi') ? 'an AVIF' : /^(hei|hev|mif|msf)/.test(brand) ? 'a HEIC' : 'a video or HEIF'} file; phones can send JPEG instead.`;
  }
  if (/^\uFEFF?\s*(<\?xml|<!--|<!DOCTYPE svg|<svg)/i.test(data.toString('utf8', 0, 256)))
    return 'This is an SVG or XML file.';
  return 'These bytes are no picture that is known here.';
}

type Size = { width?: number; height?: number };

function pngSize(data: Buffer): Size {
  return data.length >= 24 && has(data, 12, 'IHDR')
    ? { width: data.readUInt32BE(16), height: data.readUInt32BE(20) }
    : {};
}

function webpSize(data: Buffer): Size {
  if (data.length < 30) return {};
  switch (data.toString('latin1', 12, 16)) {
    case 'VP8X':
      return { width: data.readUIntLE(24, 3) + 1, height: data.readUIntLE(27, 3) + 1 };
    case 'VP8 ':
      return { width: data.readUInt16LE(26) & 0x3fff, height: data.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = data.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    default:
      return {};
  }
}

/** Walks the JPEG's segments to its frame header (SOF0-SOF15, without DHT, JPG and DAC). */
function jpegSize(data: Buffer): Size {
  let at = 2;
  while (at + 9 < data.length) {
    if (data[at] !== 0xff) return {};
    const marker = data[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1;
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { height: data.readUInt16BE(at + 5), width: data.readUInt16BE(at + 7) };
    } else if (marker === 0xda || marker === 0xd9) {
      return {};
    } else {
      const standalone = marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
      at += standalone ? 2 : 2 + data.readUInt16BE(at + 2);
    }
  }
  return {};
}
