// Looks into some of the answers: is it a picture, of the right size, and not simply the photo that was sent?
// Decoding costs the generator's own CPU, so only a sample is looked at; the rest is judged by status, type and length.

import sharp from 'sharp';
import type { Photo } from './pictures.ts';

/** What is wrong with an answer's picture, in a few words; undefined when nothing is. */
export async function faultOf(body: Buffer, sent: Photo, maxSide: number): Promise<string | undefined> {
  if (body.equals(sent.bytes)) return 'the photo itself';
  let found: { width: number; height: number };
  try {
    const { info } = await sharp(body, { failOn: 'warning' }).raw().toBuffer({ resolveWithObject: true });
    found = info;
  } catch {
    return 'not a picture';
  }
  return sizeFault(found, sent, maxSide);
}

/** Judges the size: the photo's shape, never larger than the photo or the asked longest side. Pure. */
export function sizeFault(
  found: { readonly width: number; readonly height: number },
  sent: { readonly width: number; readonly height: number },
  maxSide: number,
): string | undefined {
  const longest = Math.max(found.width, found.height);
  if (longest > Math.min(maxSide, Math.max(sent.width, sent.height))) return 'picture too large';
  if (longest < Math.min(maxSide, Math.max(sent.width, sent.height)) / 8) return 'picture too small';
  // One px of rounding on each side.
  const scale = longest / Math.max(sent.width, sent.height);
  const fits =
    Math.abs(found.width - sent.width * scale) <= 1.5 && Math.abs(found.height - sent.height * scale) <= 1.5;
  return fits ? undefined : 'picture of another shape';
}

/** Which answers are looked at: the first few of a step, then at most one in so many and one in so many ms. Pure. */
export class Sampling {
  readonly #everyMs: number;
  #seen = 0;
  #nextAtMs = 0;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** Whether this request's answer is to be kept and looked at. */
  wants(nowMs: number): boolean {
    this.#seen += 1;
    if (this.#seen > 3 && nowMs < this.#nextAtMs) return false;
    this.#nextAtMs = nowMs + this.#everyMs;
    return true;
  }
}
