import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PATHS } from '../../config/contract.ts';
import { type Asked, entryKey, sha256, useOf } from './key.ts';
import type { Look } from './look.ts';

const PNG = { shape: 'picture', effort: 'full' } as const;

for (const [name, request, header, use] of [
  ['a picture', PNG, undefined, 'full'],
  ['a download', { ...PNG, shape: 'attachment' }, undefined, 'full'],
  ['half the effort', { ...PNG, effort: 'fast' }, undefined, 'full'],
  ['other wishes', PNG, 'max-age=60, stale-if-error', 'full'],
  ['a client that asks for a fresh one', PNG, 'no-cache', 'refresh'],
  ['the same, spelt otherwise', PNG, 'private , No-Cache', 'refresh'],
  ['a client that takes none of any age', PNG, 'max-age = 0', 'refresh'],
  ['a client that wants nothing kept', PNG, 'no-cache, no-store', 'none'],
  ['what depends on the load', { ...PNG, effort: 'auto' }, undefined, 'none'],
  ['JSON with an id', { ...PNG, shape: 'image-result' }, undefined, 'none'],
  ['JSON of a dialect', { ...PNG, shape: 'transform-result' }, undefined, 'none'],
  ['JSON with its own time', { ...PNG, shape: 'predict-result' }, 'no-cache', 'none'],
] as const)
  test(`the cache is used as it should be for ${name}`, () => assert.equal(useOf(request, header), use));

const asked: fc.Arbitrary<Asked> = fc.record({
  path: fc.constantFrom(PATHS.images, PATHS.transform, PATHS.upload),
  photo: fc.constantFrom('a', 'b').map(sha256),
  request: fc.record({
    shape: fc.constantFrom('picture' as const, 'attachment' as const),
    format: fc.constantFrom('png' as const, 'jpeg' as const, 'webp' as const),
    maxSide: fc.constantFrom(16, 160, 1024),
    quality: fc.constantFrom(undefined, 1, 16, 100),
    effort: fc.constantFrom('fast' as const, 'full' as const),
    faces: fc.constantFrom('auto' as const, 'off' as const),
  }),
});
const look: fc.Arbitrary<Look> = fc.record({
  style: fc.oneof(fc.constantFrom('sky', 'meadow', 'a","b'), fc.string({ minLength: 1, maxLength: 3 })),
  version: fc.oneof(fc.constantFrom('1', '11', 'sky'), fc.string({ minLength: 1, maxLength: 3 })),
  release: fc.constantFrom('', '1', 'green'),
});

/** Two requests of which the second differs in few places, so that almost equal ones are tried often. */
const pairs = fc
  .tuple(asked, look, asked, look, fc.array(fc.boolean(), { minLength: 11, maxLength: 11 }))
  .map(([a, lookA, b, lookB, keep]) => {
    const or = <T>(at: number, first: T, second: T) => (keep[at] ? first : second);
    const second = {
      path: or(0, a.path, b.path),
      photo: or(1, a.photo, b.photo),
      request: {
        shape: or(2, a.request.shape, b.request.shape),
        format: or(3, a.request.format, b.request.format),
        maxSide: or(4, a.request.maxSide, b.request.maxSide),
        quality: or(5, a.request.quality, b.request.quality),
        effort: or(6, a.request.effort, b.request.effort),
        faces: or(10, a.request.faces, b.request.faces),
      },
    };
    return [
      a,
      lookA,
      second,
      {
        style: or(7, lookA.style, lookB.style),
        version: or(8, lookA.version, lookB.version),
        release: or(9, lookA.release, lookB.release),
      },
    ] as const;
  });

test('two requests have one key when, and only when, no relevant part of them differs', () => {
  fc.assert(
    fc.property(pairs, ([a, lookA, b, lookB]) => {
      const quality = ({ request: { format, quality } }: Asked) => (format === 'png' ? undefined : quality);
      const equal =
        a.path === b.path &&
        a.photo === b.photo &&
        a.request.shape === b.request.shape &&
        a.request.format === b.request.format &&
        a.request.maxSide === b.request.maxSide &&
        a.request.effort === b.request.effort &&
        a.request.faces === b.request.faces &&
        quality(a) === quality(b) &&
        lookA.style === lookB.style &&
        lookA.version === lookB.version &&
        lookA.release === lookB.release;
      assert.equal(entryKey(a, lookA) === entryKey(b, lookB), equal);
    }),
    { numRuns: 2000 },
  );
});
