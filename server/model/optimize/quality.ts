// How far two pictures are apart: PSNR in dB and SSIM. Pure.

/** Peak signal to noise ratio of two pictures of bytes, in dB; 99 when they are equal. */
export function psnr(one: Uint8Array, other: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < one.length; at++) {
    const off = (one[at] as number) - (other[at] as number);
    sum += off * off;
  }
  return sum === 0 ? 99 : 10 * Math.log10((255 * 255 * one.length) / sum);
}

const BLOCK = 8;

/** Structural similarity of two RGB pictures, 0 to 1, over the lightness of 8×8 blocks, half overlapping. */
export function ssim(one: Uint8Array, other: Uint8Array, width: number, height: number): number {
  const [a, b] = [lightness(one), lightness(other)];
  let sum = 0;
  let blocks = 0;
  for (let y = 0; y + BLOCK <= height; y += BLOCK / 2) {
    for (let x = 0; x + BLOCK <= width; x += BLOCK / 2, blocks++)
      sum += blockSsim(a, b, y * width + x, width);
  }
  return blocks === 0 ? 1 : sum / blocks;
}

function blockSsim(a: Float32Array, b: Float32Array, corner: number, width: number): number {
  let [sumA, sumB, squaresA, squaresB, products] = [0, 0, 0, 0, 0];
  for (let y = 0; y < BLOCK; y++) {
    for (let x = 0; x < BLOCK; x++) {
      const [p, q] = [a[corner + y * width + x] as number, b[corner + y * width + x] as number];
      sumA += p;
      sumB += q;
      squaresA += p * p;
      squaresB += q * q;
      products += p * q;
    }
  }
  const count = BLOCK * BLOCK;
  const [meanA, meanB] = [sumA / count, sumB / count];
  const [varA, varB] = [squaresA / count - meanA ** 2, squaresB / count - meanB ** 2];
  const covariance = products / count - meanA * meanB;
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  return (
    ((2 * meanA * meanB + c1) * (2 * covariance + c2)) / ((meanA ** 2 + meanB ** 2 + c1) * (varA + varB + c2))
  );
}

function lightness(rgb: Uint8Array): Float32Array {
  return Float32Array.from(
    { length: rgb.length / 3 },
    (_, pixel) =>
      0.299 * (rgb[pixel * 3] as number) +
      0.587 * (rgb[pixel * 3 + 1] as number) +
      0.114 * (rgb[pixel * 3 + 2] as number),
  );
}
