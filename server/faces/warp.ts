// Takes a face out of a photo as a model expects it, and lays what the model drew back over the drawing. Pure; the loops
// are plain and typed, since they run over every value of every face.
//
// Our own loops and not sharp's affine: that one turns whole pictures, gives them back in a frame of its own choice, and
// takes one sample a pixel whatever the scale, so that a large face would sparkle in a small crop. Here a place is exact
// to a fraction of a pixel, only the face's own region is touched, and the loops run in the inference thread.

import type { Mask } from './mask.ts';
import { inverse, type Similarity, scaleOf } from './similarity.ts';

/** RGB rows of which the left upper part is a picture; the rest is padding. */
export interface Canvas {
  readonly data: Uint8Array<ArrayBuffer>;
  /** Pixels from one row to the next. */
  readonly stride: number;
  readonly width: number;
  readonly height: number;
}

/** What a crop shows beyond the photo's edges: the edge itself, or white. */
export type Beyond = 'edge' | 'white';

/** The same for pixels whose memory is nobody's concern. */
type Rows = Omit<Canvas, 'data'> & { readonly data: Uint8Array };

/** A crop and its way: `toCrop` leads from the photo's px to the crop's. */
export interface CropPlan {
  readonly toCrop: Similarity;
  /** The crop's side, px. */
  readonly side: number;
  readonly beyond: Beyond;
  /** Whether the face takes the drawing's light, or keeps its own. */
  readonly tone: 'match' | 'own';
}

/** The most samples a pixel along one side: beyond 8 px a sample nothing is seen any more. */
const MOST_SAMPLES = 8;

/** How many samples along each side of a pixel show what it covers. */
const samplesFor = (covered: number) => Math.min(MOST_SAMPLES, Math.max(1, Math.round(covered)));

/** The face as RGB, `side` × `side`. @param into Takes it; has side² × 3 bytes. */
export function cropFace(photo: Canvas, { toCrop, side, beyond }: CropPlan, into: Uint8Array): void {
  const back = inverse(toCrop);
  const samples = samplesFor(scaleOf(back));
  const each = 1 / (samples * samples);
  const outside = beyond === 'white' ? 255 : undefined;
  const colour = new Float64Array(3);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at += 3) {
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let down = 0; down < samples; down++) {
        const v = y + (down + 0.5) / samples - 0.5;
        for (let right = 0; right < samples; right++) {
          const u = x + (right + 0.5) / samples - 0.5;
          look(photo, back.a * u - back.b * v + back.x, back.b * u + back.a * v + back.y, outside, colour);
          red += colour[0] as number;
          green += colour[1] as number;
          blue += colour[2] as number;
        }
      }
      into[at] = red * each + 0.5;
      into[at + 1] = green * each + 0.5;
      into[at + 2] = blue * each + 0.5;
    }
  }
}

/** A shift of each colour, steps of 255. */
export type Tone = readonly [red: number, green: number, blue: number];

/** A face as the model drew it. */
export const OWN_TONE: Tone = [0, 0, 0];

/** No face is shifted further: what differs more than this was meant to. */
const MOST_SHIFT = 48;

/**
 * How much lighter and more colourful the drawing is than the face, where one turns into the other: two models have two
 * ideas of daylight, and without this shift a shadow or a glow is seen around every head. It counts half in the face's
 * middle, so that a blue wall does not make blue cheeks.
 */
export function toneBetween(drawing: Canvas, face: Uint8Array, mask: Mask, plan: CropPlan): Tone {
  const { toCrop, side } = plan;
  const { left, top, right, bottom } = reach(plan, drawing);
  const sums = new Float64Array(3);
  let weights = 0;
  // Every third pixel of every third row: a mean does not need more.
  for (let y = top; y <= bottom; y += 3) {
    for (let x = left; x <= right; x += 3) {
      const u = toCrop.a * x - toCrop.b * y + toCrop.x;
      const v = toCrop.b * x + toCrop.a * y + toCrop.y;
      const share = maskAt(mask, side, u, v) / 255;
      const weight = share * (1 - share);
      if (weight === 0) continue;
      weights += weight;
      const at = (y * drawing.stride + x) * 3;
      const from = (Math.round(v) * side + Math.round(u)) * 3;
      for (let c = 0; c < 3; c++) {
        const apart = (drawing.data[at + c] as number) - (face[from + c] as number);
        sums[c] = (sums[c] as number) + weight * apart;
      }
    }
  }
  const shift = (sum = 0) => Math.max(-MOST_SHIFT, Math.min(MOST_SHIFT, sum / weights));
  return weights === 0 ? OWN_TONE : [shift(sums[0]), shift(sums[1]), shift(sums[2])];
}

/** Lays a drawn face over a drawing, as far as the mask shows it. @param face RGB, as large as the crop. */
export function blendFace(
  drawing: Canvas,
  face: Uint8Array,
  mask: Mask,
  plan: CropPlan,
  tone: Tone = OWN_TONE,
): void {
  const { toCrop, side } = plan;
  const { a, b } = toCrop;
  const crop: Rows = { data: face, stride: side, width: side, height: side };
  const samples = samplesFor(scaleOf(toCrop));
  const whole = 255 * samples * samples;
  const colour = new Float64Array(3);
  const { left, top, right, bottom } = reach(plan, drawing);
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let seen = 0;
      let shifted = 0;
      for (let row = 0; row < samples; row++) {
        const py = y + (row + 0.5) / samples - 0.5;
        for (let column = 0; column < samples; column++) {
          const px = x + (column + 0.5) / samples - 0.5;
          const u = a * px - b * py + toCrop.x;
          const v = b * px + a * py + toCrop.y;
          const share = maskAt(mask, side, u, v);
          if (share === 0) continue;
          look(crop, u, v, undefined, colour);
          seen += share;
          shifted += share * (1 - share / 510);
          red += share * (colour[0] as number);
          green += share * (colour[1] as number);
          blue += share * (colour[2] as number);
        }
      }
      if (seen === 0) continue;
      const at = (y * drawing.stride + x) * 3;
      const under = whole - seen;
      lay(drawing.data, at, red + shifted * tone[0], under, whole);
      lay(drawing.data, at + 1, green + shifted * tone[1], under, whole);
      lay(drawing.data, at + 2, blue + shifted * tone[2], under, whole);
    }
  }
}

/** One colour over another, by their shares of the whole. */
function lay(data: Uint8Array, at: number, over: number, under: number, whole: number): void {
  const value = (over + under * (data[at] as number)) / whole + 0.5;
  data[at] = Math.max(0, Math.min(255, value));
}

/** The part of a picture that a crop covers: its corners' bounds, px, both ends inside. */
export function reach(
  { toCrop, side }: CropPlan,
  { width, height }: { readonly width: number; readonly height: number },
): { left: number; top: number; right: number; bottom: number } {
  const back = inverse(toCrop);
  const far = side - 1;
  const corners = [
    [0, 0],
    [far, 0],
    [0, far],
    [far, far],
  ] as const;
  const xs = corners.map(([u, v]) => back.a * u - back.b * v + back.x);
  const ys = corners.map(([u, v]) => back.b * u + back.a * v + back.y);
  return {
    left: Math.max(0, Math.floor(Math.min(...xs))),
    top: Math.max(0, Math.floor(Math.min(...ys))),
    right: Math.min(width - 1, Math.ceil(Math.max(...xs))),
    bottom: Math.min(height - 1, Math.ceil(Math.max(...ys))),
  };
}

/** The colour between four pixels. @param outside What is beyond the picture; undefined is its edge. */
function look(from: Rows, x: number, y: number, outside: number | undefined, colour: Float64Array): void {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  if (x0 < 0 || y0 < 0 || x0 + 1 >= from.width || y0 + 1 >= from.height) {
    lookAtEdge(from, x, y, outside, colour);
    return;
  }
  const { data, stride } = from;
  const fx = x - x0;
  const fy = y - y0;
  const one = (1 - fx) * (1 - fy);
  const two = fx * (1 - fy);
  const three = (1 - fx) * fy;
  const four = fx * fy;
  const at = (y0 * stride + x0) * 3;
  const below = at + stride * 3;
  for (let c = 0; c < 3; c++)
    colour[c] =
      one * (data[at + c] as number) +
      two * (data[at + c + 3] as number) +
      three * (data[below + c] as number) +
      four * (data[below + c + 3] as number);
}

function lookAtEdge(
  { data, stride, width, height }: Rows,
  x: number,
  y: number,
  outside: number | undefined,
  colour: Float64Array,
): void {
  const [x0, y0] = [Math.floor(x), Math.floor(y)];
  colour.fill(0);
  for (let corner = 0; corner < 4; corner++) {
    const [px, py] = [x0 + (corner & 1), y0 + (corner >> 1)];
    const share = (1 - Math.abs(x - px)) * (1 - Math.abs(y - py));
    const beyond = outside !== undefined && (px < 0 || py < 0 || px >= width || py >= height);
    const at = (clamp(py, height) * stride + clamp(px, width)) * 3;
    for (let c = 0; c < 3; c++)
      colour[c] = (colour[c] as number) + share * (beyond ? outside : (data[at + c] as number));
  }
}

/** The mask between four of its pixels, 0 to 255; nothing beyond it. */
function maskAt(mask: Mask, side: number, u: number, v: number): number {
  const u0 = Math.floor(u);
  const v0 = Math.floor(v);
  if (u0 < 0 || v0 < 0 || u0 >= side - 1 || v0 >= side - 1) return 0;
  const fu = u - u0;
  const fv = v - v0;
  const at = v0 * side + u0;
  const upper = (mask[at] as number) * (1 - fu) + (mask[at + 1] as number) * fu;
  const lower = (mask[at + side] as number) * (1 - fu) + (mask[at + side + 1] as number) * fu;
  return upper * (1 - fv) + lower * fv;
}

const clamp = (at: number, size: number) => Math.min(size - 1, Math.max(0, at));
