// The photos that are sent: drawn by code from a seed, or read from a folder. The only file here that draws.
// Drawn ones have large shapes, fine texture and noise, so that their bytes and decoding cost what photos' do.

import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import sharp from 'sharp';
import type { PictureKind } from '../config/picture.ts';
import { type Cut, cut } from './own-bytes.ts';
import { seededFor } from './random.ts';
import { UploadTemplate } from './upload.ts';

/** A photo ready to be sent. */
export interface Photo {
  readonly name: string;
  readonly kind: PictureKind;
  /** Sides as a viewer sees them, after any EXIF turn. */
  readonly width: number;
  readonly height: number;
  readonly bytes: Buffer;
  readonly upload: UploadTemplate;
}

/** A size to draw. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What phones, cameras and chat programs send, scaled down; the mix of a default run. */
export const DEFAULT_SIZES: readonly Size[] = [
  { width: 512, height: 512 },
  { width: 640, height: 480 },
  { width: 768, height: 1024 },
  { width: 1280, height: 853 },
  { width: 1080, height: 1440 },
  { width: 1600, height: 1200 },
];

/** Photos that cannot be used, in a sentence. */
export class PicturesError extends Error {
  override readonly name = 'PicturesError';
}

/** Draws two photos of each size; mostly JPEG, every sixth a PNG or a WebP. */
export async function drawPhotos(seed: number, sizes: readonly Size[] = DEFAULT_SIZES): Promise<Photo[]> {
  const wanted = [...sizes, ...sizes];
  const photos: Photo[] = [];
  for (const [index, size] of wanted.entries()) {
    const kind: PictureKind = index % 12 === 6 ? 'png' : index % 12 === 11 ? 'webp' : 'jpeg';
    const bytes = await draw(seed + index, size, kind);
    photos.push(await photoOf(`drawn-${index}-${size.width}x${size.height}.${kind}`, bytes));
  }
  return photos;
}

/**
 * Reads every JPEG, PNG and WebP of a folder, in the order of their names.
 * @throws {PicturesError} when there is none or one is broken.
 */
export async function readPhotos(dir: string): Promise<Photo[]> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch (error) {
    throw new PicturesError(`the folder ${dir} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const wanted = names.filter((name) => /^\.(jpe?g|png|webp)$/i.test(extname(name))).sort();
  if (wanted.length === 0) throw new PicturesError(`the folder ${dir} holds no JPEG, PNG or WebP picture`);
  const photos: Photo[] = [];
  for (const name of wanted) {
    try {
      photos.push(await photoOf(name, await readFile(join(dir, name))));
    } catch (error) {
      throw new PicturesError(`${join(dir, name)} cannot be used: ${(error as Error).message}`);
    }
  }
  return photos;
}

/**
 * A plain square JPEG that weighs about `bytes`: comments between its head and its scan fill it up, so that a reader
 * still finds its size within the first kilobytes. For benches of what carries pictures, not of what draws them.
 */
export async function filledPhoto(side: number, bytes: number): Promise<Photo> {
  const plain = await sharp({ create: { width: side, height: side, channels: 3, background: '#abc' } })
    .jpeg()
    .toBuffer();
  const scan = plain.indexOf(Buffer.from([0xff, 0xda]));
  const filling: Buffer[] = [];
  for (let left = bytes - plain.length; left > 4; left -= LONGEST_COMMENT) {
    const comment = Buffer.alloc(Math.min(LONGEST_COMMENT, left), 'x');
    comment.writeUInt16BE(0xfffe, 0);
    comment.writeUInt16BE(comment.length - 2, 2);
    filling.push(comment);
  }
  const whole = Buffer.concat([plain.subarray(0, scan), ...filling, plain.subarray(scan)]);
  return photoOf(`filled-${side}x${side}.jpg`, whole);
}

/** Bytes of a JPEG comment with its marker, within the 16 bits of its length. */
const LONGEST_COMMENT = 65_000;

async function photoOf(name: string, bytes: Buffer): Promise<Photo> {
  const { autoOrient } = await sharp(bytes).metadata();
  const pieces: Cut = cut(bytes);
  return {
    name,
    kind: pieces.kind,
    width: autoOrient.width,
    height: autoOrient.height,
    bytes,
    upload: new UploadTemplate(pieces),
  };
}

/** A landscape of sorts: a sky, hills, discs of light, texture and grain. */
async function draw(seed: number, { width, height }: Size, kind: PictureKind): Promise<Buffer> {
  const random = seededFor(seed, 'photo');
  const hue = random() * 360;
  const shapes = Array.from({ length: 24 }, () => {
    const [x, y, r] = [random() * width, random() * height, (0.03 + random() * 0.12) * width];
    const colour = `hsl(${(hue + random() * 160) % 360} ${30 + random() * 50}% ${25 + random() * 50}%)`;
    return random() < 0.5
      ? `<circle cx="${x}" cy="${y}" r="${r}" fill="${colour}" opacity="0.8"/>`
      : `<path d="M${x - r} ${y + r} L${x} ${y - r} L${x + r} ${y + r} Z" fill="${colour}" opacity="0.8"/>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <defs><linearGradient id="g" x2="0" y2="1"><stop offset="0" stop-color="hsl(${hue} 60% 70%)"/><stop offset="1" stop-color="hsl(${hue + 60} 45% 30%)"/></linearGradient></defs>
    <rect width="100%" height="100%" fill="url(#g)"/>${shapes.join('')}</svg>`;
  const grain = await grainOf(random, width, height);
  const image = sharp(Buffer.from(svg))
    .removeAlpha()
    .composite([{ input: grain, blend: 'soft-light' }]);
  switch (kind) {
    case 'jpeg':
      return await image.jpeg({ quality: 88 }).toBuffer();
    case 'png':
      return await image.png({ compressionLevel: 6 }).toBuffer();
    case 'webp':
      return await image.webp({ quality: 86 }).toBuffer();
  }
}

/** Grey noise at half resolution: real photos have texture, and flat drawings would be too cheap to send and decode. */
async function grainOf(random: () => number, width: number, height: number): Promise<Buffer> {
  const [w, h] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const grey = Buffer.alloc(w * h);
  for (let i = 0; i < grey.length; i++) grey[i] = 88 + random() * 80;
  return await sharp(grey, { raw: { width: w, height: h, channels: 1 } })
    .resize(width, height, { fit: 'fill' })
    .png()
    .toBuffer();
}
