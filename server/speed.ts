// How fast this worker draws, measured: for its agent as one figure, and for what one picture will take, by model and size.
// Pure. Knows no pictures and no clocks.

import { Costs } from '../balancer/schedule/cost.ts';

/** A picture's own pixels count by the million. */
const MEGA = 1e6;
/** What decoding and encoding are learnt under; no model is called so. */
const AROUND = ' ';

/** Before the first picture: a photo decoded to 512 × 512 and written as PNG. */
const FIRST_AROUND = [512 * 512, 25] as const;

export class Speed {
  #msPerMegapixel: number | null = null;
  readonly #drawing = new Costs();
  /** What golden pictures took: small ones, and the first of them cold. Good enough until a real picture is known. */
  readonly #proofs = new Costs();
  readonly #drawn = new Set<string>();
  readonly #around = new Costs();

  constructor() {
    this.carried(...FIRST_AROUND);
  }

  /** Null before the first picture. */
  get msPerMegapixel(): number | null {
    return this.#msPerMegapixel;
  }

  /** Counts one picture: a moving mean over about the last eight. */
  drew(model: string, pixels: number, ms: number): void {
    const one = (ms / pixels) * MEGA;
    this.#msPerMegapixel =
      this.#msPerMegapixel === null ? one : this.#msPerMegapixel + (one - this.#msPerMegapixel) / 8;
    this.#drawing.learn(model, pixels / MEGA, ms);
    this.#drawn.add(model);
  }

  /** A golden picture, which says what a model takes before anything else does; it is nobody's picture, and not counted. */
  proved(model: string, pixels: number, ms: number): void {
    this.#proofs.learn(model, pixels / MEGA, ms);
  }

  /** Decoding and encoding took so long for an answer of so many pixels. */
  carried(pixels: number, ms: number): void {
    this.#around.learn(AROUND, pixels / MEGA, ms);
  }

  /**
   * How long a picture will probably take, ms: what the model is fed, and what the answer measures, in pixels.
   * @param whole What draws the whole picture of a composite: by it something is known before the composite has drawn.
   */
  expect(model: string, fed: number, answer: number, whole = model): number {
    const name = this.#drawn.has(model) ? model : whole;
    const known = this.#drawn.has(name) ? this.#drawing : this.#proofs;
    return known.expect(name, fed / MEGA) + this.#around.expect(AROUND, answer / MEGA);
  }
}
