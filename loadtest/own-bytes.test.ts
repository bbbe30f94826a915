import assert from 'node:assert/strict';
import test from 'node:test';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { pictureKinds, readPictureHeader } from '../config/picture.ts';
import { cut, mark } from './own-bytes.ts';
import { drawPhotos, filledPhoto } from './pictures.ts';
import { UploadTemplate } from './upload.ts';

const small = () =>
  sharp({ create: { width: 40, height: 30, channels: 3, background: '#47a' } })
    .composite([
      { input: Buffer.from('<svg width="20" height="20"><circle cx="9" cy="9" r="8" fill="red"/></svg>') },
    ])
    .withMetadata();

for (const kind of pictureKinds) {
  test(`a marked ${kind} has bytes of its own and the same pixels`, async () => {
    const original = await small().toFormat(kind).toBuffer();
    const { before, after } = cut(original);
    const one = Buffer.concat([before, mark(kind, 1), after]);
    const two = Buffer.concat([before, mark(kind, 2), after]);
    assert.notDeepEqual(one, two);
    assert.equal(one.length, two.length);
    const raw = await sharp(original, { failOn: 'warning' }).raw().toBuffer();
    assert.deepEqual(await sharp(one, { failOn: 'warning' }).raw().toBuffer(), raw);
    assert.deepEqual(await sharp(two, { failOn: 'warning' }).raw().toBuffer(), raw);
  });
}

test('a JPEG without JFIF takes its mark right behind the start', async () => {
  const jpeg = await small().toFormat('jpeg').toBuffer();
  const bare = Buffer.concat([jpeg.subarray(0, 2), jpeg.subarray(cut(jpeg).before.length)]);
  const pieces = cut(bare);
  const marked = Buffer.concat([pieces.before, mark('jpeg', 3), pieces.after]);
  assert.equal((await sharp(marked).metadata()).width, 40);
});

test('a multipart body says its exact length and ends with its boundary', async () => {
  const original = await small().toFormat('png').toBuffer();
  const upload = new UploadTemplate(cut(original)).body(5, { style: 'meadow', max_side: '256' });
  const body = Buffer.concat(upload.pieces);
  assert.equal(body.length, upload.bytes);
  const form = await new Response(body, { headers: { 'content-type': upload.contentType } }).formData();
  assert.deepEqual([...form.keys()], ['style', 'max_side', 'image']);
  assert.equal(form.get('style'), 'meadow');
  const file = form.get('image');
  assert.ok(file instanceof File);
  assert.equal(file.type, 'image/png');
  assert.deepEqual(
    Buffer.from(await file.arrayBuffer()),
    Buffer.concat([cut(original).before, mark('png', 5), cut(original).after]),
  );
});

test('a filled photo weighs what was asked, tells its size early, and is sent raw with bytes of its own', async () => {
  const photo = await filledPhoto(632, 200_000);
  const [one, two] = [photo.upload.raw(1), photo.upload.raw(2)].map((upload) => {
    const body = Buffer.concat(upload.pieces);
    assert.equal(body.length, upload.bytes);
    return body;
  });
  assert.ok(one && two && !one.equals(two));
  assert.ok(Math.abs(one.length - 200_000) < 100, `${one.length} bytes`);
  assert.equal(readPictureHeader(one.subarray(0, 2000)).width, 632);
  assert.equal((await sharp(one, { failOn: 'warning' }).stats()).channels.length, 3);
});

test('drawn photos are the same for a seed, of the asked sizes, and as heavy as photos', async () => {
  const sizes = [{ width: 512, height: 384 }];
  const [first, again, other] = await Promise.all([
    drawPhotos(1, sizes),
    drawPhotos(1, sizes),
    drawPhotos(99, sizes),
  ]);
  assert.deepEqual(
    first.map((photo) => photo.bytes),
    again.map((photo) => photo.bytes),
  );
  assert.notDeepEqual(first[0]?.bytes, other[0]?.bytes);
  for (const photo of first) {
    assert.deepEqual([photo.width, photo.height], [512, 384]);
    assert.ok(
      photo.bytes.length > 20_000 && photo.bytes.length < 600_000,
      `${photo.name}: ${photo.bytes.length} bytes`,
    );
  }
});

test('a marked PNG has a true checksum, a marked WebP a true length', async () => {
  const png = cut(await small().toFormat('png').toBuffer());
  const chunk = mark(png.kind, 7);
  assert.equal(chunk.readUInt32BE(0), chunk.length - 12);
  assert.equal(chunk.readUInt32BE(chunk.length - 4), crc32(chunk.subarray(4, -4)));
  const { before, kind, after } = cut(await small().toFormat('webp').toBuffer());
  const webp = Buffer.concat([before, mark(kind, 7), after]);
  assert.equal(webp.readUInt32LE(4), webp.length - 8);
});
