// The golden picture: a tiny drawn picture whose drawing by a model is known, so that a model that loads but draws
// rubbish never serves. Pure. Compared by distance, since CPUs of different kinds round differently.

import type { Golden } from './entries/entry-fields.ts';
import type { InstalledModel } from './entries/installed.ts';

/** Pixels as RGB, row by row. */
export interface Pixels {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/** The drawing is summed up by the mean colours of GRID × GRID blocks. */
const GRID = 8;
/** Mean distance of the block means, of 255, that different CPUs and versions of ONNX Runtime may have. */
const MEAN_TOLERANCE = 2;
/** The same for the worst single block. */
const WORST_TOLERANCE = 16;
/** A drawing whose block means vary less than this, of 255, is blank. */
const LEAST_SPREAD = 4;

/** The tiny picture of a model: as small as the model allows, drawn from a seed. */
export function goldenInput(
  model: Pick<InstalledModel, 'fixed_size' | 'min_side' | 'size_multiple'>,
  seed: number,
): Pixels {
  const side = Math.ceil(Math.max(64, model.min_side) / model.size_multiple) * model.size_multiple;
  const [width, height] = model.fixed_size ?? [side, side];
  return { data: drawPicture(width, height, seed), width, height };
}

/** A smooth scene with hard-edged shapes: something for every layer of a network to work on. */
export function drawPicture(width: number, height: number, seed: number): Uint8Array<ArrayBuffer> {
  const random = mulberry32(seed);
  const sky = Array.from({ length: 6 }, () => 40 + random() * 200);
  const discs = Array.from({ length: 5 }, () => ({
    x: random(),
    y: random(),
    r: 0.08 + random() * 0.2,
    colour: [random() * 255, random() * 255, random() * 255],
  }));
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [x / width, y / height];
      const disc = discs.find((d) => (u - d.x) ** 2 + (v - d.y) ** 2 < d.r ** 2);
      for (let c = 0; c < 3; c++, at++) {
        const top = sky[c] ?? 0;
        const bottom = sky[c + 3] ?? 0;
        const shade = 12 * Math.sin(u * 19 + c) * Math.cos(v * 23);
        data[at] = Math.max(0, Math.min(255, disc?.colour[c] ?? top + (bottom - top) * v + shade));
      }
    }
  }
  return data;
}

/** A drawing's block means as the manifest keeps them. */
export function sumUp({ data, width, height }: Pixels): string {
  return Buffer.from(blockBytes({ data, width, height })).toString('base64');
}

/** What the comparison says. */
export type Verdict = { readonly kind: 'right' } | { readonly kind: 'wrong'; readonly why: string };

/** Compares a drawing with what the manifest expects. */
export function judge(drawing: Pixels, golden: Golden): Verdict {
  const found = blockBytes(drawing);
  const expected = Buffer.from(golden.means, 'base64');
  if (expected.length !== found.length)
    return { kind: 'wrong', why: `the manifest expects ${expected.length} block means, not ${found.length}` };
  const blank = whyBlank(found);
  if (blank) return { kind: 'wrong', why: blank };
  const distances = Array.from(found, (mean, index) => Math.abs(mean - (expected[index] ?? 0)));
  const mean = distances.reduce((sum, distance) => sum + distance, 0) / distances.length;
  const worst = Math.max(...distances);
  if (mean <= MEAN_TOLERANCE && worst <= WORST_TOLERANCE) return { kind: 'right' };
  return {
    kind: 'wrong',
    why: `its golden picture is ${mean.toFixed(1)} of 255 off in the mean and ${worst} at worst; allowed are ${MEAN_TOLERANCE} and ${WORST_TOLERANCE}`,
  };
}

/** Why a drawing cannot be right whatever the manifest says; undefined when it may be. */
export function whyUnusable(drawing: Pixels): string | undefined {
  return whyBlank(blockBytes(drawing));
}

function whyBlank(means: Uint8Array): string | undefined {
  const spread = Math.max(...means) - Math.min(...means);
  return spread < LEAST_SPREAD ? `its golden picture is blank (block means vary by ${spread})` : undefined;
}

/** Block means as the manifest keeps them: one byte each. */
function blockBytes({ data, width, height }: Pixels): Uint8Array {
  return Uint8Array.from(blockMeans(data, { width, height }, GRID), Math.round);
}

/** Mean colours of grid × grid blocks of a picture, RGB, row by row. */
export function blockMeans(
  rgb: Uint8Array | Float32Array,
  { width, height }: Pick<Pixels, 'width' | 'height'>,
  grid: number,
): Float64Array {
  const sums = new Float64Array(grid * grid * 3);
  const counts = new Float64Array(grid * grid);
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor((y * grid) / height) * grid;
    for (let x = 0; x < width; x++) {
      const block = row + Math.floor((x * grid) / width);
      counts[block] = (counts[block] ?? 0) + 1;
      for (let c = 0; c < 3; c++, at++) sums[block * 3 + c] = (sums[block * 3 + c] ?? 0) + (rgb[at] ?? 0);
    }
  }
  return sums.map((sum, at) => sum / (counts[Math.floor(at / 3)] || 1));
}

/** A small seeded generator of numbers in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
