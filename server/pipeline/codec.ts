// Bytes of a picture to pixels, and pixels to bytes. The only file that touches sharp.
// Reads JPEG, PNG and WebP and nothing else, writes no metadata, and never lets a bad picture become a fault of ours.

import sharp, { type Sharp, type SharpOptions } from 'sharp';
import { ToonError } from '../../config/errors.ts';
import { checkPictureSize, type PictureKind, readPictureHeader } from '../../config/picture.ts';
import type { Mask } from '../faces/mask.ts';
import type { Pixels } from '../model/golden.ts';
import type { Fit, Size } from './fit.ts';
import { saysSrgb } from './icc.ts';
import { exifOf, type Label, xmpOf } from './provenance.ts';
import type { SpareMemory } from './spare-memory.ts';

// One core a worker: more threads would only fight over it. Every picture is another one: a cache would only hold memory.
sharp.concurrency(1);
sharp.cache(false);
// Loaders for untrusted bytes: exactly the three that are promised, and only from memory (SVG and PDF reach for files).
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'],
});

/** What sharp puts beside a picture. */
const fillings = {
  edge: { extendWith: 'copy' },
  white: { extendWith: 'background', background: '#ffffff' },
} as const;

/** No picture within the pixel limit needs this long; one that does is built to waste time. */
const DECODE_TIMEOUT_S = 20;
/** The quality of JPEG and WebP answers that ask for none. */
const DEFAULT_QUALITY = 90;

/** A picture whose header has been read and found acceptable. */
export interface OpenedPicture extends Size {
  readonly bytes: Uint8Array;
  readonly kind: PictureKind;
  /** True when its colour profile says sRGB, which is what is wanted. */
  readonly isSrgb: boolean;
  /** True when it is four inks and says nothing of their colours. */
  readonly isBareInk: boolean;
}

/**
 * Reads a picture's header. The size is that after any EXIF turn.
 * @throws {ToonError} `empty_image`, `unsupported_image`, `image_too_large`, `image_too_small` or `broken_image`.
 */
export async function openPicture(bytes: Uint8Array, maxPixels: number): Promise<OpenedPicture> {
  const header = readPictureHeader(bytes);
  checkPictureSize(header, maxPixels);
  // The decoder forgives a PNG without its last chunk; a file that was cut there is cut all the same.
  if (header.kind === 'png' && !Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes('IEND'))
    throw new ToonError('broken_image', { detail: 'The PNG has no end.' });
  try {
    const { autoOrient, icc, space } = await sharp(bytes, { ...strict(maxPixels) }).metadata();
    // What the decoder itself says counts too: the first look gives up on headers that it cannot follow.
    checkPictureSize(autoOrient, maxPixels);
    const isSrgb = icc !== undefined && saysSrgb(icc);
    return {
      bytes,
      kind: header.kind,
      isSrgb,
      isBareInk: icc === undefined && space === 'cmyk',
      ...autoOrient,
    };
  } catch (error) {
    throw asPictureFault(error);
  }
}

/**
 * Decodes a picture to the pixels that a model is fed: upright, sRGB, alpha over white, `content` in the top left corner
 * and its edge repeated, or white, up to `padded`.
 * @throws {ToonError} `broken_image` for whatever the decoder complains about.
 */
export async function decode(
  { bytes, isSrgb, isBareInk }: OpenedPicture,
  { content, padded, beside }: Fit,
  maxPixels: number,
  memory: SpareMemory,
): Promise<Pixels> {
  // sharp decodes JPEG and WebP at a fraction of their size when resizing comes first. Linear and cubic cost the same
  // after that (measured: 9.5 and 10.3 ms of 512 px); cubic keeps thin lines.
  // A profile that says sRGB changes nothing, and applying it costs more than decoding (measured: 24 of 35 ms).
  let image = sharp(bytes, { ...strict(maxPixels), autoOrient: true, ignoreIcc: isSrgb })
    .timeout({ seconds: DECODE_TIMEOUT_S })
    .resize(content.width, content.height, { fit: 'fill', kernel: 'cubic' });
  image = isBareInk
    ? image.pipelineColourspace('cmyk').toColourspace('cmyk')
    : image.flatten({ background: '#ffffff' }).toColourspace('srgb');
  const right = padded.width - content.width;
  const bottom = padded.height - content.height;
  if (right > 0 || bottom > 0) image = image.extend({ right, bottom, ...fillings[beside ?? 'edge'] });
  try {
    // Not toUint8Array(), whose result could be transferred as it is: in sharp 0.35.5 it never gives its memory back.
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const channels = isBareInk ? 4 : 3;
    if (info.channels === channels && info.width === padded.width && info.height === padded.height) {
      const pixels = memory.lend(info.width * info.height * 3);
      if (isBareInk) {
        printInks(data, pixels);
        // White is no colour of inks.
        if (beside === 'white') whiten(pixels, content, padded);
      } else pixels.set(data);
      return { data: pixels, width: info.width, height: info.height };
    }
    throw new Error(`decoded to ${info.width}×${info.height}×${info.channels}`);
  } catch (error) {
    throw asPictureFault(error);
  }
}

/**
 * Cyan, magenta, yellow and black as light, as browsers show a picture that does not say which inks it means. The decoder
 * would take those of a press, whose black is a dark grey: a photo would not come out as its owner sees it.
 */
function printInks(inks: Uint8Array, pixels: Uint8Array): void {
  for (let from = 0, at = 0; at < pixels.length; from += 4) {
    const paper = 255 - (inks[from + 3] as number); // four inks a pixel
    for (let ink = from; ink < from + 3; ink++, at++)
      pixels[at] = Math.round(((255 - (inks[ink] as number)) * paper) / 255);
  }
}

/** Paper beside a picture. */
function whiten(pixels: Uint8Array, content: Size, padded: Size): void {
  for (let y = 0; y < padded.height; y++) {
    const from = y < content.height ? content.width : 0;
    pixels.fill(255, (y * padded.width + from) * 3, (y + 1) * padded.width * 3);
  }
}

/** A copy of decoded pixels, without what stands beside them and reduced to a size. */
export async function reduced(pixels: Pixels, { width, height }: Size, to: Size): Promise<Pixels> {
  const { data, info } = await sharp(pixels.data, {
    raw: { width: pixels.width, height: pixels.height, channels: 3 },
  })
    .extract({ left: 0, top: 0, width, height })
    .resize(to.width, to.height, { fit: 'fill', kernel: 'linear' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  // The pool's memory is everybody's, and these pixels go to another thread.
  return { data: Uint8Array.from(data), width: info.width, height: info.height };
}

/**
 * The grey values of a picture as a mask, `side` × `side`.
 * @throws {ToonError} `unsupported_image` or `broken_image`.
 */
export async function readMask(bytes: Uint8Array, side: number): Promise<Mask> {
  readPictureHeader(bytes);
  try {
    const grey = sharp(bytes, { failOn: 'warning' }).flatten({ background: '#000000' }).toColourspace('b-w');
    const mask = await grey
      .resize(side, side, { fit: 'fill' })
      .extractChannel(0)
      .raw({ depth: 'uchar' })
      .toBuffer();
    return Uint8Array.from(mask);
  } catch (error) {
    throw asPictureFault(error);
  }
}

/** How an answer is encoded. */
export interface Encoding {
  readonly format: PictureKind;
  /** 1-100, for JPEG and WebP; undefined takes the default. */
  readonly quality: number | undefined;
  /** What the answer says of its own making; nothing when left out. */
  readonly label?: Label | undefined;
}

/** Crops what a model drew to its content, reduces it to the answer's size, and encodes it with no metadata but its label. */
export async function encode(
  drawn: Pixels,
  { content, answer }: Fit,
  { format, quality, label }: Encoding,
): Promise<Buffer> {
  let image = sharp(drawn.data, { raw: { width: drawn.width, height: drawn.height, channels: 3 } });
  if (content.width !== drawn.width || content.height !== drawn.height)
    image = image.extract({ left: 0, top: 0, ...content });
  if (answer.width !== content.width || answer.height !== content.height)
    image = image.resize(answer.width, answer.height, { fit: 'fill' });
  return await labelled(compress(image, format, quality ?? DEFAULT_QUALITY), label).toBuffer();
}

function labelled(image: Sharp, label: Label | undefined): Sharp {
  switch (label?.as) {
    case undefined:
      return image;
    case 'exif':
      return image.withExif(exifOf(label));
    case 'xmp':
      return image.withXmp(xmpOf(label));
  }
}

/** The face and the collar of the sample photo's drawing, as embedded styles show them. */
export async function thumbnailOf(drawn: Buffer): Promise<Buffer> {
  const { width } = await sharp(drawn).metadata();
  // Of 512 px; a model of one size may have drawn it smaller.
  const [left, side] = [Math.round(width / 8), Math.round((width * 5) / 8)];
  const face = sharp(drawn).extract({ left, top: 0, width: side, height: side });
  return await face.resize(192, 192).webp({ quality: 80, effort: 6 }).toBuffer();
}

/** Fast settings, since the core that encodes is the core that draws. */
function compress(image: Sharp, format: PictureKind, quality: number): Sharp {
  switch (format) {
    case 'png':
      // Level 1 without filters: 4.6 ms for 464 KB at 512 px; level 2 with filters takes 10.6 ms for 284 KB.
      return image.png({ compressionLevel: 1, adaptiveFiltering: false, palette: false });
    case 'jpeg':
      return image.jpeg({ quality });
    case 'webp':
      return image.webp({ quality, effort: 0 });
  }
}

function strict(maxPixels: number): SharpOptions {
  return { failOn: 'warning', limitInputPixels: maxPixels, unlimited: false, pages: 1 };
}

/** Whatever decoding throws is the picture's fault: the code of this file has been tested, the picture has not. */
function asPictureFault(error: unknown): ToonError {
  if (error instanceof ToonError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/pixel limit/i.test(message)) return new ToonError('image_too_large', {}, { cause: error });
  return new ToonError('broken_image', {}, { cause: error });
}
