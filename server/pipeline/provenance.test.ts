import assert from 'node:assert/strict';
import test from 'node:test';
import sharp from 'sharp';
import { drawPicture } from '../model/golden.ts';
import { encode } from './codec.ts';
import { exifOf, type Label, labelLine, xmpOf } from './provenance.ts';

const LABEL: Label = {
  as: 'xmp',
  software: 'toonfleet 1.2.3',
  style: 'hayao',
  model: 'hayao-36',
  sha256: 'ab'.repeat(32),
  variant: 'exact',
  trained: true,
};
const SIZE = { width: 64, height: 48 };
const PLAN = { content: SIZE, padded: SIZE, answer: SIZE };
const drawn = () => ({ data: drawPicture(SIZE.width, SIZE.height, 1), ...SIZE });

for (const format of ['png', 'jpeg', 'webp'] as const) {
  test(`a ${format} says as XMP what drew it`, async () => {
    const bytes = await encode(drawn(), PLAN, { format, quality: undefined, label: LABEL });
    const { xmp, exif } = await sharp(bytes).metadata();
    const text = xmp?.toString('utf8') ?? '';
    assert.match(text, /toonfleet:model="hayao-36"/);
    assert.match(text, /toonfleet:style="hayao"/);
    assert.match(text, new RegExp(`toonfleet:sha256="${LABEL.sha256}"`));
    assert.match(text, /DigitalSourceType="[^"]+compositeWithTrainedAlgorithmicMedia"/);
    assert.equal(exif, undefined);
  });

  test(`a ${format} says as EXIF what drew it`, async () => {
    const bytes = await encode(drawn(), PLAN, {
      format,
      quality: undefined,
      label: { ...LABEL, as: 'exif' },
    });
    const { xmp, exif } = await sharp(bytes).metadata();
    const text = exif?.toString('latin1') ?? '';
    assert.ok(text.includes(labelLine(LABEL)), text);
    assert.match(text, /toonfleet 1\.2\.3/);
    assert.equal(xmp, undefined);
  });

  test(`a ${format} without a label says nothing, and its pixels are the same`, async () => {
    const bare = await encode(drawn(), PLAN, { format, quality: undefined });
    const { xmp, exif } = await sharp(bare).metadata();
    assert.deepEqual([xmp, exif], [undefined, undefined]);
    for (const as of ['exif', 'xmp'] as const) {
      const labelled = await encode(drawn(), PLAN, { format, quality: undefined, label: { ...LABEL, as } });
      assert.deepEqual(await sharp(labelled).raw().toBuffer(), await sharp(bare).raw().toBuffer());
    }
  });
}

test('a filter is not called trained, and names are written as XML writes them', () => {
  assert.match(xmpOf({ ...LABEL, trained: false }), /algorithmicallyEnhanced/);
  assert.match(xmpOf({ ...LABEL, model: 'a"<&>' }), /model="a&#34;&#60;&#38;&#62;"/);
  assert.match(
    exifOf(LABEL).IFD0.ImageDescription ?? '',
    /^style=hayao; model=hayao-36; sha256=(ab){32}; variant=exact$/,
  );
});
