import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { ToonError } from './errors.ts';
import { checkPictureSize, type PictureKind, readPictureHeader } from './picture.ts';

const draw = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 200, g: 120, b: 40 } } });

const encodings: [name: string, kind: PictureKind, bytes: (w: number, h: number) => Promise<Buffer>][] = [
  ['a baseline JPEG', 'jpeg', (w, h) => draw(w, h).jpeg().toBuffer()],
  ['a progressive JPEG', 'jpeg', (w, h) => draw(w, h).jpeg({ progressive: true }).toBuffer()],
  [
    'a JPEG with EXIF',
    'jpeg',
    (w, h) =>
      draw(w, h)
        .withExif({ IFD0: { Copyright: 'x'.repeat(500) } })
        .jpeg()
        .toBuffer(),
  ],
  ['a PNG', 'png', (w, h) => draw(w, h).png().toBuffer()],
  ['a lossy WebP', 'webp', (w, h) => draw(w, h).webp().toBuffer()],
  ['a lossless WebP', 'webp', (w, h) => draw(w, h).webp({ lossless: true }).toBuffer()],
  ['a WebP with alpha', 'webp', (w, h) => draw(w, h).ensureAlpha(0.5).webp().toBuffer()],
];
for (const [name, kind, encode] of encodings) {
  test(`${name} tells its kind and size from its first bytes`, async () => {
    for (const [w, h] of [
      [17, 900],
      [640, 33],
    ] as const) {
      assert.deepEqual(readPictureHeader(await encode(w, h)), { kind, width: w, height: h });
    }
  });
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ToonError, String(error));
    return error.code;
  }
  return 'ok';
}

const refused: [name: string, bytes: Buffer, detail: RegExp][] = [
  ['a GIF', Buffer.from('GIF89a......'), /GIF/],
  ['a TIFF', Buffer.from('II*\0........'), /TIFF/],
  ['a BMP', Buffer.from('BM............'), /BMP/],
  ['a PDF', Buffer.from('%PDF-1.7\n'), /PDF/],
  ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /SVG/],
  ['an SVG behind an XML head', Buffer.from('\uFEFF<?xml version="1.0"?><svg/>'), /SVG/],
  ['a HEIC', Buffer.from('\0\0\0\x18ftypheic\0\0\0\0'), /HEIC/],
  ['an AVIF', Buffer.from('\0\0\0\x18ftypavif\0\0\0\0'), /AVIF/],
  ['text named .jpg', Buffer.from('this is no picture'), /no picture/],
  ['one byte', Buffer.from([0xff]), /no picture/],
];
for (const [name, bytes, detail] of refused) {
  test(`${name} is an unsupported image by its bytes`, () => {
    assert.equal(
      codeOf(() => readPictureHeader(bytes)),
      'unsupported_image',
    );
    assert.throws(() => readPictureHeader(bytes), detail);
  });
}

test('no bytes are an empty image', () =>
  assert.equal(
    codeOf(() => readPictureHeader(Buffer.alloc(0))),
    'empty_image',
  ));

test('sizes are judged without decoding', () => {
  const limit = 50_000_000;
  assert.equal(
    codeOf(() => checkPictureSize({ width: 30_000, height: 30_000 }, limit)),
    'image_too_large',
  );
  assert.equal(
    codeOf(() => checkPictureSize({ width: 1, height: 1 }, limit)),
    'image_too_small',
  );
  assert.equal(
    codeOf(() => checkPictureSize({ width: 15, height: 4000 }, limit)),
    'image_too_small',
  );
  assert.equal(
    codeOf(() => checkPictureSize({ width: 0, height: 10 }, limit)),
    'broken_image',
  );
  assert.equal(
    codeOf(() => checkPictureSize({ width: 16, height: 16 }, limit)),
    'ok',
  );
  assert.equal(
    codeOf(() => checkPictureSize({}, limit)),
    'ok',
    'a cut header is left to the decoder',
  );
});

test('no bytes whatever make the reader fail with anything but its two codes', async () => {
  const seeds = await Promise.all(encodings.map(([, , encode]) => encode(64, 48)));
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.nat(400),
      fc.array(fc.tuple(fc.nat(100), fc.nat(255)), { maxLength: 8 }),
      (seed, length, edits) => {
        const bytes = Buffer.from(seed.subarray(0, length));
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
        assert.match(
          codeOf(() => readPictureHeader(bytes)),
          /^(ok|empty_image|unsupported_image)$/,
        );
      },
    ),
    { numRuns: 500 },
  );
});
