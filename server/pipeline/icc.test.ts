import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { scene } from '../test-pictures.ts';
import { saysSrgb } from './icc.ts';

/** A profile with one tag, the description. */
function profile(text: string, version: 2 | 4, space = 'RGB '): Buffer {
  const head = Buffer.alloc(144);
  head.write(space, 16, 'latin1');
  head.writeUInt32BE(1, 128);
  head.write('desc', 132, 'latin1');
  head.writeUInt32BE(144, 136);
  const utf16 = Buffer.from(text, 'utf16le').swap16();
  const tag =
    version === 2
      ? Buffer.concat([Buffer.from('desc\0\0\0\0'), number(text.length + 1), Buffer.from(`${text}\0`)])
      : Buffer.concat([
          Buffer.from('mluc\0\0\0\0'),
          ...[1, 12].map(number),
          Buffer.from('enUS'),
          ...[utf16.length, 28].map(number),
          utf16,
        ]);
  head.writeUInt32BE(tag.length, 140);
  return Buffer.concat([head, tag]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const cases: [text: string, srgb: boolean][] = [
  ['sRGB IEC61966-2.1', true],
  ['sRGB built-in', true],
  ['GIMP built-in sRGB', true],
  ['sRGB', true],
  ['Display P3', false],
  ['Adobe RGB (1998)', false],
  ['sRGB linear', false],
  ['not sRGB', false],
  ['', false],
];
for (const [text, srgb] of cases) {
  test(`"${text}" is ${srgb ? '' : 'not '}sRGB, in both versions of the format`, () => {
    for (const version of [2, 4] as const) assert.equal(saysSrgb(profile(text, version)), srgb);
  });
}

test('a profile that is not for RGB is not sRGB, whatever it says', () => {
  assert.equal(saysSrgb(profile('sRGB', 2, 'CMYK')), false);
});

test('what the decoder’s own profiles say is believed', async () => {
  for (const [name, srgb] of [
    ['srgb', true],
    ['p3', false],
  ] as const) {
    const { icc } = await sharp(await scene().withIccProfile(name).png().toBuffer()).metadata();
    assert.ok(icc);
    assert.equal(saysSrgb(icc), srgb, name);
  }
});

test('no bytes make it throw', () => {
  const whole = profile('sRGB', 4);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(whole.length), (noise, at) => {
      saysSrgb(noise);
      saysSrgb(whole.subarray(0, at));
      const mutant = Buffer.from(whole);
      mutant.set(noise.subarray(0, mutant.length - at), at);
      saysSrgb(mutant);
    }),
  );
});
