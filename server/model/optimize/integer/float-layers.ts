// Which layers of an int8 variant stay floats: those that gain most for their time, one after the other, until the pictures are
// good enough or too much of the speed is gone.

import { ModelFault } from '../../entries/fault.ts';
import type { Pixels } from '../../golden.ts';
import { compare } from '../comparison.ts';
import { psnr } from '../quality.ts';
import type { Trial } from '../trial.ts';

/** What a layer has to gain as a float, in dB; less may be chance. */
const LEAST_GAIN = 0.1;
/** Costs below it are not told from other work on the machine. */
const LEAST_COST_MS = 1;

/** What is wanted, and who hears how it goes. */
export interface Wish {
  readonly calibration: readonly Pixels[];
  /** dB */
  readonly leastPsnr: number;
  /** How many times as fast the variant has to be. */
  readonly leastRatio: number;
  readonly say: (sentence: string) => void;
}

/** What a calibration picture gains when one layer stays float, and what that costs. */
interface Candidate {
  readonly name: string;
  /** dB */
  readonly gain: number;
  readonly costMs: number;
}

/**
 * Finds them by trying, on pictures that calibration has seen: those of the proof only say when it is enough, or they would prove
 * nothing any more.
 */
export class FloatLayers {
  readonly #original: Trial;
  readonly #start: (floats: ReadonlySet<string>) => Promise<Trial>;
  readonly #wish: Wish;
  readonly #kept = new Set<string>();
  #candidates: Candidate[] | undefined;
  /** The last layer, and the worst calibration picture without it, dB. */
  #last: { readonly name: string; readonly without: number } | undefined;

  /** @param start Starts the variant with these layers as floats. */
  constructor(original: Trial, start: (floats: ReadonlySet<string>) => Promise<Trial>, wish: Wish) {
    this.#original = original;
    this.#start = start;
    this.#wish = wish;
  }

  /** Results of the convolutions that stay floats. */
  get kept(): ReadonlySet<string> {
    return this.#kept;
  }

  /**
   * Chooses otherwise, since the variant with the present ones does not do.
   * @param names Results of the convolutions that work on bytes.
   * @param found The worst picture of the proof, dB, and how many times as fast the variant is.
   * @throws {ModelFault} when there is nothing left to choose, or the variant would be too slow.
   */
  async change(
    variant: Trial,
    names: readonly string[],
    { worst, ratio }: { readonly worst: number; readonly ratio: number },
  ): Promise<void> {
    const { calibration, leastPsnr, leastRatio, say } = this.#wish;
    const compared = await compare(this.#original, variant, calibration);
    const [picture, db] = worstOf(calibration, compared);
    let best = db;
    if (this.#last && db < this.#last.without) {
      // What helps by itself may hurt beside others.
      say(`layer ${this.#last.name} does not help beside the others and works on bytes again`);
      this.#kept.delete(this.#last.name);
      best = this.#last.without;
    } else if (this.#kept.size > 0 && ratio < leastRatio)
      throw new ModelFault(
        `with ${this.#kept.size} layers as floats it still has ${worst.toFixed(1)} dB, and is only ${ratio.toFixed(2)} times as fast; nothing was written`,
      );
    this.#candidates ??= await this.#try(variant, names, picture);
    const next = this.#candidates.shift();
    if (!next)
      throw new ModelFault(
        `it stays below ${leastPsnr} dB: no layer is left that gains anything as a float; nothing was written`,
      );
    say(`layer ${next.name} stays float: ${next.gain.toFixed(1)} dB for ${next.costMs.toFixed(0)} ms`);
    this.#last = { name: next.name, without: best };
    this.#kept.add(next.name);
  }

  /** The layers that gain anything on a picture as floats, each alone; those first that gain most for their time. */
  async #try(variant: Trial, names: readonly string[], picture: Pixels): Promise<Candidate[]> {
    const expected = (await this.#original.draw(picture)).data;
    const measure = async (trial: Trial) => {
      const first = await trial.draw(picture);
      const { cpuMs } = await trial.draw(picture);
      return { db: psnr(expected, first.data), ms: Math.min(first.cpuMs, cpuMs) };
    };
    const now = await measure(variant);
    const found: Candidate[] = [];
    for (const [at, name] of names.entries()) {
      this.#wish.say(`trying layers as floats, ${at + 1} of ${names.length} …`);
      const trial = await this.#start(new Set([name]));
      try {
        const { db, ms } = await measure(trial);
        if (db - now.db >= LEAST_GAIN)
          found.push({ name, gain: db - now.db, costMs: Math.max(LEAST_COST_MS, ms - now.ms) });
      } finally {
        await trial.close();
      }
    }
    return found.sort((one, other) => other.gain / other.costMs - one.gain / one.costMs);
  }
}

/** The picture that suffers most, and its dB. */
function worstOf(
  pictures: readonly Pixels[],
  compared: readonly { readonly psnr: number }[],
): [Pixels, number] {
  const all = pictures.map((picture, at): [Pixels, number] => [picture, compared[at]?.psnr ?? 0]);
  const [worst] = all.sort(([, one], [, other]) => one - other);
  if (!worst) throw new ModelFault('there is no photo to calibrate on');
  return worst;
}
