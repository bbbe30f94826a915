// How long a virtual worker takes for a picture: read from a few words, drawn from a seed. Pure.

import { parseDuration } from '../config/units.ts';
import type { Random } from './random.ts';

/** Ms of one picture of so many megapixels. */
export type ServiceTime = (megapixels: number, random: Random) => number;

/** The forms that {@link parseServiceTime} reads, for usage texts. */
export const SERVICE_FORMS =
  '40ms (always), 40ms:0.9,400ms:0.1 (a mix with shares), exp:100ms (exponential), 200ms/MP (by megapixels)';

/** Reads a service time; undefined when the text is none of the {@link SERVICE_FORMS}. */
export function parseServiceTime(text: string): ServiceTime | undefined {
  const perMegapixel = /^(.+)\/MP$/i.exec(text)?.[1];
  if (perMegapixel !== undefined) {
    const ms = positive(perMegapixel);
    return ms === undefined ? undefined : (megapixels) => ms * megapixels;
  }
  const exponential = /^exp:(.+)$/.exec(text)?.[1];
  if (exponential !== undefined) {
    const ms = positive(exponential);
    return ms === undefined ? undefined : (_, random) => -ms * Math.log(1 - random());
  }
  const parts = text.split(',').map((part) => {
    const [duration = '', share = '1'] = part.split(':');
    return { ms: positive(duration), share: Number(share) };
  });
  const total = parts.reduce((sum, { share }) => sum + share, 0);
  if (parts.some(({ ms, share }) => ms === undefined || !(share > 0)) || Math.abs(total - 1) > 0.001)
    return undefined;
  return (_, random) => {
    let left = random() * total;
    for (const { ms, share } of parts) {
      left -= share;
      if (left < 0) return ms ?? 0;
    }
    return parts.at(-1)?.ms ?? 0;
  };
}

function positive(duration: string): number | undefined {
  const ms = parseDuration(duration);
  return ms !== undefined && ms > 0 ? ms : undefined;
}
