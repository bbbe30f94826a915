import assert from 'node:assert/strict';
import test from 'node:test';
import sharp, { type Sharp } from 'sharp';
import { ToonError } from '../../config/errors.ts';
import { distance, jpeg, noise, png, pngBomb, scene, webp } from '../test-pictures.ts';
import { decode, encode, openPicture } from './codec.ts';
import { fit } from './fit.ts';
import { createSpareMemory } from './spare-memory.ts';

const MAX_PIXELS = 50_000_000;
const rule = { multiple: 1, minSide: 16 };

/** Opens and decodes as the pipeline does, and gives the pixels back as PNG for looking at. */
async function through(bytes: Uint8Array, maxSide = 1024, size = rule): Promise<Buffer> {
  const picture = await openPicture(bytes, MAX_PIXELS);
  const plan = fit(picture, maxSide, size);
  const pixels = await decode(picture, plan, MAX_PIXELS, createSpareMemory());
  assert.equal(pixels.data.length, plan.padded.width * plan.padded.height * 3);
  return await encode(pixels, plan, { format: 'png', quality: undefined });
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof ToonError ? error.code : error),
  );

test('a picture of every kind comes through as it is', async () => {
  const expected = await png();
  for (const bytes of [await jpeg(), expected, await webp()])
    assert.ok((await distance(await through(bytes), expected)) < 6);
});

test('all eight EXIF orientations come through upright', async () => {
  const upright = await scene(96, 64).png().toBuffer();
  // What a camera held like this would have stored: the inverse of how a viewer turns it.
  const stored: Record<number, () => Sharp> = {
    1: () => sharp(upright),
    2: () => sharp(upright).flop(),
    3: () => sharp(upright).rotate(180),
    4: () => sharp(upright).flip(),
    6: () => sharp(upright).rotate(270),
    8: () => sharp(upright).rotate(90),
  };
  const twice = async (first: Sharp, turn: number) => sharp(await first.png().toBuffer()).rotate(turn);
  for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const image =
      orientation === 5
        ? await twice(sharp(upright).flop(), 270)
        : orientation === 7
          ? await twice(sharp(upright).flop(), 90)
          : stored[orientation]?.();
    assert.ok(image);
    const raw = await image.png().toBuffer();
    const bytes = await sharp(raw).withMetadata({ orientation }).jpeg({ quality: 98 }).toBuffer();
    const opened = await openPicture(bytes, MAX_PIXELS);
    assert.deepEqual([opened.width, opened.height], [96, 64], `orientation ${orientation}`);
    const off = await distance(await through(bytes), upright);
    assert.ok(off < 6, `orientation ${orientation} is ${off.toFixed(1)} off`);
  }
});

const spaces: [name: string, make: () => Promise<Buffer>, tolerance: number][] = [
  ['CMYK with its profile', () => scene().withIccProfile('cmyk').jpeg({ quality: 98 }).toBuffer(), 15],
  ['16 bits a channel', () => scene().toColourspace('rgb16').png().toBuffer(), 2],
  ['Display P3', () => scene().withIccProfile('p3').png().toBuffer(), 6],
  ['256 indexed colours', () => scene().png({ palette: true, colours: 256 }).toBuffer(), 12],
  ['progressive JPEG', () => scene().jpeg({ quality: 95, progressive: true }).toBuffer(), 6],
  ['lossless WebP', () => scene().webp({ lossless: true }).toBuffer(), 1],
];
for (const [name, make, tolerance] of spaces) {
  test(`${name} becomes sRGB of three bytes a pixel`, async () => {
    const off = await distance(await through(await make()), await png());
    assert.ok(off <= tolerance, `${off.toFixed(1)} off`);
  });
}

/** Orange, dark green, paper and black ink alone, as bands of 16 px: a JPEG of four inks without a profile. */
const BARE_INK =
  '/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgAEABABEMRAE0RAFkRAEsRAP/EABgAAQEBAQEAAAAAAAAAAAAAAAAKCQgF/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwDfx6jK9swAJA29DqRiOAK/BVQocAAEAYAMF0Wa5gASBt6HUjEcAV+CqhQ4AAIAwB//2Q==';

test('four inks without a profile look as browsers show them', async () => {
  const { data, info } = await sharp(await through(Buffer.from(BARE_INK, 'base64')))
    .raw()
    .toBuffer({ resolveWithObject: true });
  const expected = [
    [230, 120, 40],
    [30, 120, 40],
    [255, 255, 255],
    [0, 0, 0],
  ];
  for (const [band, colour] of expected.entries()) {
    const at = (8 * info.width + 16 * band + 8) * 3;
    const found = [...data.subarray(at, at + 3)];
    const off = Math.max(...found.map((value, c) => Math.abs(value - (colour[c] ?? 0))));
    assert.ok(off <= 4, `band ${band} is ${found}`);
  }
});

test('grey in 8 and 16 bits, with and without alpha, becomes three equal channels', async () => {
  const grey = await scene().greyscale().png().toBuffer();
  for (const bytes of [
    grey,
    await scene().greyscale().jpeg({ quality: 98 }).toBuffer(),
    await scene().toColourspace('grey16').png().toBuffer(),
    await scene().greyscale().ensureAlpha().png().toBuffer(),
  ]) {
    const { data, info } = await sharp(await through(bytes))
      .raw()
      .toBuffer({ resolveWithObject: true });
    assert.equal(info.channels, 3);
    for (let at = 0; at < data.length; at += 3) assert.equal(data[at], data[at + 2]);
    assert.ok((await distance(await through(bytes), grey)) < 4);
  }
});

test('alpha lies over white', async () => {
  const clear = { r: 10, g: 20, b: 30, alpha: 0 };
  const bytes = await sharp({ create: { width: 32, height: 32, channels: 4, background: clear } })
    .png()
    .toBuffer();
  const indexed = await sharp(bytes).png({ palette: true }).toBuffer();
  for (const each of [bytes, indexed]) {
    const { data } = await sharp(await through(each))
      .raw()
      .toBuffer({ resolveWithObject: true });
    assert.ok(data.every((value) => value === 255));
  }
});

test('only the first frame of an animation is drawn', async () => {
  const frames = await Promise.all([1, 2, 3].map((seed) => scene(64, 64, seed).png().toBuffer()));
  const animation = await sharp(frames, { join: { animated: true } })
    .webp({ lossless: true, loop: 0, delay: [50, 50, 50] })
    .toBuffer();
  const [first = Buffer.alloc(0)] = frames;
  assert.ok((await distance(await through(animation), first)) < 2);
});

test('what is beside the content repeats its edge, and is gone in the answer', async () => {
  const bytes = await png(70, 50);
  const picture = await openPicture(bytes, MAX_PIXELS);
  const plan = fit(picture, 1024, { multiple: 32, minSide: 16 });
  const pixels = await decode(picture, plan, MAX_PIXELS, createSpareMemory());
  assert.deepEqual([pixels.width, pixels.height], [96, 64]);
  const at = (x: number, y: number) => pixels.data.slice((y * 96 + x) * 3, (y * 96 + x) * 3 + 3);
  assert.deepEqual(at(95, 10), at(69, 10));
  assert.deepEqual(at(20, 63), at(20, 49));
  assert.deepEqual(at(95, 63), at(69, 49));
  assert.ok((await distance(await through(bytes, 1024, { multiple: 32, minSide: 16 }), bytes)) < 1);
});

test('what was enlarged for the model comes back at its own size', async () => {
  const bytes = await png(60, 40);
  const back = await through(bytes, 1024, { multiple: 16, minSide: 256 });
  const { width, height } = await sharp(back).metadata();
  assert.deepEqual([width, height], [60, 40]);
  assert.ok((await distance(back, bytes)) < 6);
});

test('answers carry no metadata of the photo', async () => {
  const bytes = await scene()
    .withExif({ IFD0: { Copyright: 'secret place' }, IFD3: { GPSLatitude: '51/1 30/1 0/1' } })
    .jpeg()
    .toBuffer();
  assert.ok(bytes.includes('secret place'));
  const picture = await openPicture(bytes, MAX_PIXELS);
  const plan = fit(picture, 1024, rule);
  for (const format of ['png', 'jpeg', 'webp'] as const) {
    const pixels = await decode(picture, plan, MAX_PIXELS, createSpareMemory());
    const answer = await encode(pixels, plan, { format, quality: undefined });
    const { exif, icc, format: kind } = await sharp(answer).metadata();
    assert.deepEqual([exif, icc, kind], [undefined, undefined, format]);
    assert.ok(!answer.includes('secret'));
  }
});

test('quality makes JPEG and WebP smaller or larger', async () => {
  const picture = await openPicture(await png(), MAX_PIXELS);
  const plan = fit(picture, 1024, rule);
  for (const format of ['jpeg', 'webp'] as const) {
    const at = async (quality: number) =>
      (await encode(await decode(picture, plan, MAX_PIXELS, createSpareMemory()), plan, { format, quality }))
        .length;
    assert.ok((await at(20)) < (await at(95)));
  }
});

test('a truncated picture is broken, wherever it was cut, and the same every time', async () => {
  for (const whole of [await jpeg(), await png(), await webp()]) {
    const lengths = Array.from({ length: 31 }, (_, part) => Math.floor((whole.length * (part + 1)) / 32));
    // The last chunk of a PNG has 12 bytes and no pixels, and decoders do without it.
    for (const length of [...lengths, whole.length - 12]) {
      const cut = whole.subarray(0, length);
      const code = await codeOf(through(cut));
      assert.ok(code === 'broken_image' || code === 'unsupported_image', `${length} bytes: ${code}`);
      assert.equal(await codeOf(through(cut)), code);
    }
  }
});

test('flipped bytes give a picture or a refusal, never anything else', async () => {
  const seeds = [await jpeg(48, 48), await png(48, 48), await webp(48, 48)];
  const allowed = ['fulfilled', 'broken_image', 'unsupported_image', 'image_too_large', 'image_too_small'];
  for (const [index, seed] of seeds.entries()) {
    for (let round = 0; round < 60; round++) {
      const mutant = Buffer.from(seed);
      const dice = noise(9, round * 31 + index);
      for (let flip = 0; flip < 3; flip++)
        mutant[dice.readUInt16LE(flip * 3) % mutant.length] = dice[flip * 3 + 2] ?? 0;
      const code = await codeOf(through(mutant));
      assert.ok(allowed.includes(String(code)), String(code));
    }
  }
});

test('a bomb is refused by its header, before anything is decoded', async () => {
  assert.equal(await codeOf(openPicture(pngBomb(30_000, 30_000), MAX_PIXELS)), 'image_too_large');
  assert.equal(await codeOf(openPicture(pngBomb(0, 10), MAX_PIXELS)), 'broken_image');
  assert.equal(await codeOf(openPicture(pngBomb(15, 400), MAX_PIXELS)), 'image_too_small');
});

test('formats that are not promised have no loader, even when they are handed over', async () => {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"/>');
  await assert.rejects(sharp(svg).png().toBuffer());
  const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
  await assert.rejects(sharp(gif).png().toBuffer());
  await assert.rejects(sharp('/etc/hostname').png().toBuffer());
});
