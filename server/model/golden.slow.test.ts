import assert from 'node:assert/strict';
import test from 'node:test';
import { drawPicture, goldenInput, judge, type Pixels, sumUp } from './golden.ts';

const rule = { fixed_size: undefined, min_side: 16, size_multiple: 1 } as never;
const picture = (seed = 1): Pixels => goldenInput(rule, seed);
const golden = { seed: 1, means: sumUp(picture()) };
const changed = (change: (value: number, index: number) => number): Pixels => {
  const { data, width, height } = picture();
  return { data: data.map(change), width, height };
};

test('the same drawing is right', () => assert.equal(judge(picture(), golden).kind, 'right'));

test('a drawing that another CPU rounds differently is right', () => {
  assert.equal(
    judge(
      changed((value, index) => value + ((index * 7) % 3) - 1),
      golden,
    ).kind,
    'right',
  );
});

const wrong: [what: string, drawing: Pixels][] = [
  ['another picture', picture(2)],
  ['a brighter one', changed((value) => Math.min(255, value + 12))],
  [
    'one with red and blue exchanged',
    changed((_, index) => picture().data[index - (index % 3) + 2 - (index % 3)] ?? 0),
  ],
  ['a black one', changed(() => 0)],
  ['a grey one', changed(() => 128)],
  ['one with a black corner', changed((value, index) => (index < 64 * 3 * 16 ? 0 : value))],
  [
    'one with a single wrong block',
    changed((value, at) => (at < 64 * 3 * 8 && at % 192 < 24 ? value ^ 64 : value)),
  ],
];
for (const [what, drawing] of wrong) {
  test(`${what} is wrong`, () => assert.equal(judge(drawing, golden).kind, 'wrong'));
}

test('a blank drawing is wrong even when the manifest expects it', () => {
  const blank = changed(() => 0);
  assert.equal(judge(blank, { seed: 1, means: sumUp(blank) }).kind, 'wrong');
});

test('a golden text of another length is wrong', () => {
  assert.equal(judge(picture(), { seed: 1, means: 'AAAA' }).kind, 'wrong');
});

test('the tiny picture is as small as the model allows', () => {
  const sides = (model: object) => {
    const { width, height, data } = goldenInput(model as never, 1);
    assert.equal(data.length, width * height * 3);
    return [width, height];
  };
  assert.deepEqual(sides({ min_side: 16, size_multiple: 1 }), [64, 64]);
  assert.deepEqual(sides({ min_side: 250, size_multiple: 16 }), [256, 256]);
  assert.deepEqual(sides({ min_side: 16, size_multiple: 1, fixed_size: [96, 80] }), [96, 80]);
});

test('the same seed draws the same picture, another seed another', () => {
  assert.deepEqual(drawPicture(32, 32, 5), drawPicture(32, 32, 5));
  assert.notDeepEqual(drawPicture(32, 32, 5), drawPicture(32, 32, 6));
});
