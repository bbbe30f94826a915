// Pictures for end-to-end tests, drawn from a seed: no two have the same bytes, and the same seed gives the same picture.

import sharp from 'sharp';

/** A small deterministic source of numbers from 0 to 1 (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A JPEG with a sky, a few hills and some grain. */
export async function photo(seed: number, width: number, height: number): Promise<Buffer> {
  const random = randomFrom(seed);
  const pixels = Buffer.alloc(width * height * 3);
  const [hue, wave, level] = [random() * 120, 2 + random() * 6, 0.4 + random() * 0.3];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const hill = y / height > level + 0.1 * Math.sin((x / width) * wave * Math.PI);
      const grain = random() * 24;
      const at = (y * width + x) * 3;
      pixels[at] = (hill ? 60 : 120) + hue / 2 + grain;
      pixels[at + 1] = (hill ? 130 : 160) + (y / height) * 60 + grain;
      pixels[at + 2] = (hill ? 50 : 220) - hue / 4 + grain;
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** A picture's size and raw RGB. */
export async function decode(bytes: Uint8Array) {
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, pixels: data };
}

/** The mean difference of two pictures of one size, 0 to 255. */
export function distance(a: { pixels: Buffer }, b: { pixels: Buffer }): number {
  let sum = 0;
  for (let i = 0; i < a.pixels.length; i++) sum += Math.abs((a.pixels[i] ?? 0) - (b.pixels[i] ?? 0));
  return sum / a.pixels.length;
}

/** A multipart body. */
export function form(fields: Record<string, Uint8Array | string>, filename = 'photo.jpg'): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string') data.append(name, value);
    else data.append(name, new Blob([new Uint8Array(value)]), filename);
  }
  return data;
}
