import assert from 'node:assert/strict';
import test from 'node:test';
import { drawPicture } from '../golden.ts';
import { psnr, ssim } from './quality.ts';

const picture = drawPicture(64, 64, 1);

test('a picture is equal to itself', () => {
  assert.equal(psnr(picture, picture), 99);
  assert.ok(Math.abs(ssim(picture, picture, 64, 64) - 1) < 1e-6);
});

test('one level off everywhere is 48.1 dB', () => {
  const other = picture.map((value) => (value === 255 ? 254 : value + 1));
  assert.ok(Math.abs(psnr(picture, other) - 48.13) < 0.01);
});

test('noise costs similarity, and more noise costs more', () => {
  const noisy = (strength: number) =>
    picture.map((value, at) =>
      Math.max(0, Math.min(255, value + ((at * 7919) % 13) * strength - 6 * strength)),
    );
  const [little, much] = [1, 6].map((strength) => ssim(picture, noisy(strength), 64, 64));
  assert.ok((little ?? 0) < 1 && (much ?? 1) < (little ?? 0) - 0.1);
});
