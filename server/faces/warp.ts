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
  const sum = new Float64Array(3);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at += 3) {
      sum.fill(0);
      for (let part = 0; part < samples * samples; part++) {
        const u = x + offset(part % samples, samples);
        const v = y + offset(Math.floor(part / samples), samples);
        addSample(photo, back.a * u - back.b * v + back.x, back.b * u + back.a * v + back.y, beyond, sum);
      }
      for (let c = 0; c < 3; c++) into[at + c] = (sum[c] as number) * each + 0.5;
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
  const crop: Rows = { data: face, stride: side, width: side, height: side };
  const samples = samplesFor(scaleOf(toCrop));
  const colours = new Float64Array(3);
  const { left, top, right, bottom } = reach(plan, drawing);
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      colours.fill(0);
      let [seen, shifted] = [0, 0];
      for (let part = 0; part < samples * samples; part++) {
        const px = x + offset(part % samples, samples);
        const py = y + offset(Math.floor(part / samples), samples);
        const u = toCrop.a * px - toCrop.b * py + toCrop.x;
        const v = toCrop.b * px + toCrop.a * py + toCrop.y;
        const share = maskAt(mask, side, u, v);
        if (share === 0) continue;
        seen += share;
        shifted += share * (1 - share / 510);
        addWeighted(crop, u, v, share, colours);
      }
      if (seen === 0) continue;
      const whole = 255 * samples * samples;
      const at = (y * drawing.stride + x) * 3;
      for (let c = 0; c < 3; c++) {
        const under = (drawing.data[at + c] as number) * (whole - seen);
        const value = ((colours[c] as number) + shifted * (tone[c] as number) + under) / whole + 0.5;
        drawing.data[at + c] = Math.max(0, Math.min(255, value));
      }
    }
  }
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

/** The nth of so many places within a pixel, from its middle. */
const offset = (nth: number, samples: number) => (nth + 0.5) / samples - 0.5;

/** Adds the colour between four pixels. */
function addSample(from: Canvas, x: number, y: number, beyond: Beyond, sum: Float64Array): void {
  if (beyond === 'white' && (x < -1 || y < -1 || x > from.width || y > from.height)) {
    for (let c = 0; c < 3; c++) sum[c] = (sum[c] as number) + 255;
    return;
  }
  addWeighted(from, x, y, 1, sum, beyond);
}

function addWeighted(
  { data, stride, width, height }: Rows,
  x: number,
  y: number,
  weight: number,
  sum: Float64Array,
  beyond: Beyond = 'edge',
): void {
  const [x0, y0] = [Math.floor(x), Math.floor(y)];
  const [fx, fy] = [x - x0, y - y0];
  for (let corner = 0; corner < 4; corner++) {
    const [dx, dy] = [corner & 1, corner >> 1];
    const share = weight * (dx ? fx : 1 - fx) * (dy ? fy : 1 - fy);
    if (share === 0) continue;
    const [px, py] = [x0 + dx, y0 + dy];
    const outside = px < 0 || py < 0 || px >= width || py >= height;
    const at = (clamp(py, height) * stride + clamp(px, width)) * 3;
    for (let c = 0; c < 3; c++) {
      const value = outside && beyond === 'white' ? 255 : (data[at + c] as number);
      sum[c] = (sum[c] as number) + share * value;
    }
  }
}

/** The mask between four of its pixels, 0 to 255; nothing beyond it. */
function maskAt(mask: Mask, side: number, u: number, v: number): number {
  const [u0, v0] = [Math.floor(u), Math.floor(v)];
  if (u0 < 0 || v0 < 0 || u0 >= side - 1 || v0 >= side - 1) return 0;
  const [fu, fv] = [u - u0, v - v0];
  const at = v0 * side + u0;
  const upper = (mask[at] as number) * (1 - fu) + (mask[at + 1] as number) * fu;
  const lower = (mask[at + side] as number) * (1 - fu) + (mask[at + side + 1] as number) * fu;
  return upper * (1 - fv) + lower * fv;
}

const clamp = (at: number, size: number) => Math.min(size - 1, Math.max(0, at));
