import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Fit, fit, type Size, type SizeRule } from './fit.ts';

const size = (width: number, height: number): Size => ({ width, height });
const any: SizeRule = { multiple: 1, minSide: 16 };
const tiny: SizeRule = { multiple: 16, minSide: 256 };
const fixed: SizeRule = { multiple: 1, minSide: 16, fixed: size(512, 512) };

const dct: SizeRule = { multiple: 16, minSide: 16, maxShortSide: 720, padding: 'dct-net' };

const cases: { name: string; picture: Size; maxSide: number; rule: SizeRule; expected: Fit }[] = [
  {
    name: 'a picture that is small enough stays as it is',
    picture: size(300, 200),
    maxSide: 1024,
    rule: any,
    expected: { content: size(300, 200), padded: size(300, 200), answer: size(300, 200) },
  },
  {
    name: 'a large picture is reduced to max_side',
    picture: size(1280, 853),
    maxSide: 512,
    rule: any,
    expected: { content: size(512, 341), padded: size(512, 341), answer: size(512, 341) },
  },
  {
    name: 'a side that is no multiple is padded and cropped, not stretched',
    picture: size(1280, 853),
    maxSide: 512,
    rule: tiny,
    expected: { content: size(512, 341), padded: size(512, 352), answer: size(512, 341) },
  },
  {
    name: 'a picture below the minimum is enlarged for the model and reduced again',
    picture: size(100, 50),
    maxSide: 1024,
    rule: tiny,
    expected: { content: size(512, 256), padded: size(512, 256), answer: size(100, 50) },
  },
  {
    name: 'a strip is enlarged no further than max_side² pixels and padded for the rest',
    picture: size(1024, 16),
    maxSide: 512,
    rule: tiny,
    expected: { content: size(4096, 64), padded: size(4096, 256), answer: size(512, 8) },
  },
  {
    name: 'a fixed model is fed its frame, and the answer keeps the aspect',
    picture: size(1280, 640),
    maxSide: 1024,
    rule: fixed,
    expected: { content: size(512, 256), padded: size(512, 512), answer: size(512, 256) },
  },
  {
    name: 'a small picture fills the frame of a fixed model and comes back at its own size',
    picture: size(128, 64),
    maxSide: 1024,
    rule: fixed,
    expected: { content: size(512, 256), padded: size(512, 512), answer: size(128, 64) },
  },
  {
    name: 'a fixed model obeys max_side',
    picture: size(1280, 640),
    maxSide: 100,
    rule: fixed,
    expected: { content: size(512, 256), padded: size(512, 512), answer: size(100, 50) },
  },
  {
    name: 'a shorter side that is too long for the model is reduced for it, and the answer enlarged again',
    picture: size(1000, 760),
    maxSide: 1024,
    rule: { ...dct, padding: 'white' },
    expected: {
      content: size(947, 720),
      padded: size(960, 720),
      answer: size(1000, 760),
      beside: 'white',
    },
  },
  {
    name: 'as DCT-Net is fed, a side that needs no padding gets a multiple of it where the other needs some',
    picture: size(1000, 720),
    maxSide: 1024,
    rule: dct,
    expected: {
      content: size(1000, 720),
      padded: size(1008, 736),
      answer: size(1000, 720),
      beside: 'white',
    },
  },
  {
    name: 'as DCT-Net is fed, two sides that need no padding get none',
    picture: size(960, 720),
    maxSide: 1024,
    rule: dct,
    expected: {
      content: size(960, 720),
      padded: size(960, 720),
      answer: size(960, 720),
      beside: 'white',
    },
  },
];

for (const { name, picture, maxSide, rule, expected } of cases) {
  test(name, () => assert.deepEqual(fit(picture, maxSide, rule), expected));
}

const side = fc.integer({ min: 16, max: 10_000 });
const rules: fc.Arbitrary<SizeRule> = fc.oneof(
  fc.record({
    multiple: fc.constantFrom(1, 2, 4, 8, 16, 32),
    minSide: fc.constantFrom(1, 16, 64, 256),
  }),
  fc.record({
    multiple: fc.constant(1),
    minSide: fc.constant(16),
    fixed: fc.record({
      width: fc.integer({ min: 64, max: 1024 }),
      height: fc.integer({ min: 64, max: 1024 }),
    }),
  }),
);
const anyCase = fc.tuple(side, side, fc.integer({ min: 16, max: 4096 }), rules);

test('an answer is never larger than the picture or max_side, and never empty', () => {
  fc.assert(
    fc.property(anyCase, ([width, height, maxSide, rule]) => {
      const { answer } = fit({ width, height }, maxSide, rule);
      assert.ok(answer.width >= 1 && answer.height >= 1);
      assert.ok(answer.width <= width && answer.height <= height);
      assert.ok(Math.max(answer.width, answer.height) <= maxSide);
    }),
  );
});

test('an answer keeps the aspect to within the rounding of its sides', () => {
  fc.assert(
    fc.property(anyCase, ([width, height, maxSide, rule]) => {
      const { answer } = fit({ width, height }, maxSide, rule);
      const factor = Math.max(answer.width, answer.height) / Math.max(width, height);
      const shorter = Math.min(width, height) * factor;
      assert.ok(Math.abs(Math.min(answer.width, answer.height) - Math.max(1, shorter)) <= 1);
    }),
  );
});

test('a model is fed what it takes: multiples, its minimum, its frame, with the content inside', () => {
  fc.assert(
    fc.property(anyCase, ([width, height, maxSide, rule]) => {
      const { content, padded } = fit({ width, height }, maxSide, rule);
      assert.ok(content.width <= padded.width && content.height <= padded.height);
      if (rule.fixed) assert.deepEqual(padded, rule.fixed);
      else {
        assert.equal(padded.width % rule.multiple, 0);
        assert.equal(padded.height % rule.multiple, 0);
        assert.ok(Math.min(padded.width, padded.height) >= rule.minSide);
      }
    }),
  );
});

test('no picture costs more than max_side² pixels and its padding', () => {
  fc.assert(
    fc.property(anyCase, ([width, height, maxSide, rule]) => {
      if (rule.fixed) return;
      const { content } = fit({ width, height }, maxSide, rule);
      const most = Math.max(maxSide, rule.minSide) ** 2;
      assert.ok(content.width * content.height <= most + content.width + content.height);
    }),
  );
});
