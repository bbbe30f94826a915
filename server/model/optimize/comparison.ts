// What two graphs of one model draw of the same pictures, side by side.

import { ModelFault } from '../entries/fault.ts';
import type { Pixels } from '../golden.ts';
import { psnr, ssim } from './quality.ts';
import type { Trial } from './trial.ts';

/** One compared picture. */
export interface Comparison {
  readonly width: number;
  readonly height: number;
  /** dB */
  readonly psnr: number;
  readonly ssim: number;
}

/**
 * Draws pictures with both.
 * @throws {ModelFault} when a drawing of the variant has another size.
 */
export async function compare(
  original: Trial,
  variant: Trial,
  proof: readonly Pixels[],
): Promise<Comparison[]> {
  const pictures: Comparison[] = [];
  for (const picture of proof) {
    const { width, height } = picture;
    const [expected, found] = [(await original.draw(picture)).data, (await variant.draw(picture)).data];
    if (expected.length !== found.length)
      throw new ModelFault(
        `at ${width}×${height} the variant gives ${found.length} bytes, not ${expected.length}`,
      );
    pictures.push({ width, height, psnr: psnr(expected, found), ssim: ssim(expected, found, width, height) });
  }
  return pictures;
}
