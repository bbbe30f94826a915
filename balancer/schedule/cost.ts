// What a picture will cost: how long it will keep a slot, from its size and from what pictures of this style and size
// have cost lately. Pure.
//
// Sizes are kept apart by octave of their area, since no model's time is quite in proportion to its pixels; within an
// octave it is near enough. What was never seen borrows from the nearest size, then from any style.

/** An average that forgets, and how far values lie from it. */
interface Learnt {
  rate: number;
  deviation: number;
  count: number;
}

/** How much one picture counts among those before it. */
const FORGET = 0.1;
/** Ms per megapixel before anything is known: an embedded style on one slow core. */
const START_RATE = 500;
/** Styles come from clients; a name is learnt only from an answer, and never more of them than this. */
const MAX_KEYS = 2000;
const SMALLEST = 0.000256;

export class Costs {
  readonly #learnt = new Map<string, Learnt>();
  /** Ms per megapixel over everything. */
  #anyRate: Learnt | undefined;
  #meanMs: number | undefined;

  /** The ms for which a picture of so many megapixels will probably keep a slot; rather too long than too short. */
  expect(style: string | undefined, megapixels: number): number {
    const { rate, deviation } = this.#nearest(style, octaveOf(megapixels)) ??
      this.#anyRate ?? { rate: START_RATE, deviation: 0 };
    return (rate + deviation) * Math.max(SMALLEST, megapixels);
  }

  /** What pictures cost on average of late, for requests of which nothing is known yet. */
  average(): number {
    return this.#meanMs ?? START_RATE / 4;
  }

  /** A picture of this size kept its slot for so long. */
  learn(style: string | undefined, megapixels: number, ms: number): void {
    const rate = ms / Math.max(SMALLEST, megapixels);
    this.#anyRate = blend(this.#anyRate, rate);
    this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + FORGET * (ms - this.#meanMs);
    const key = keyOf(style, octaveOf(megapixels));
    const known = this.#learnt.get(key);
    if (known || this.#learnt.size < MAX_KEYS) this.#learnt.set(key, blend(known, rate));
  }

  #nearest(style: string | undefined, octave: number): Learnt | undefined {
    for (let away = 0; away <= 6; away++) {
      const found =
        this.#learnt.get(keyOf(style, octave - away)) ?? this.#learnt.get(keyOf(style, octave + away));
      if (found) return found;
    }
    return undefined;
  }
}

function blend(known: Learnt | undefined, rate: number): Learnt {
  if (!known) return { rate, deviation: rate / 8, count: 1 };
  // The first values count alike, so that one odd beginning is soon forgotten.
  const part = Math.max(FORGET, 1 / (known.count + 1));
  return {
    rate: known.rate + part * (rate - known.rate),
    deviation: known.deviation + part * (Math.abs(rate - known.rate) - known.deviation),
    count: known.count + 1,
  };
}

const octaveOf = (megapixels: number) => Math.round(Math.log2(Math.max(SMALLEST, megapixels)));
const keyOf = (style: string | undefined, octave: number) => `${style ?? ''}/${octave}`;

/** The megapixels that a worker will draw: the picture, fitted to the longest side of its answer. */
export function workMegapixels(
  { width, height }: { readonly width?: number; readonly height?: number },
  maxSide: number,
): number {
  // A header that was cut before its size says nothing: the largest is assumed.
  if (width === undefined || height === undefined) return (maxSide * maxSide) / 1e6;
  const scale = Math.min(1, maxSide / Math.max(width, height));
  return (width * scale * height * scale) / 1e6;
}
