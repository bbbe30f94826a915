import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Effort, effortHeader } from '../../config/effort.ts';
import type { FaceComposite, InstalledModel } from '../model/entries/installed.ts';
import type { InstalledStyle } from '../model/styles.ts';
import { chooseWay, type EffortOrder, type Expectation, spared } from './effort.ts';

const styleOf = (id: string, fixed_size?: [number, number]): InstalledStyle => ({
  id,
  title: id,
  aliases: [],
  thumbnail: undefined,
  model: { name: id, kind: 'generator', fixed_size } as InstalledModel,
});
const heavy = styleOf('heavy');
const light = styleOf('light');
const framed = styleOf('framed', [512, 512]);
const portrait: InstalledStyle = {
  ...styleOf('portrait'),
  model: { kind: 'face-composite', background: framed.model } as FaceComposite,
};

/** 1000 ms a megapixel for a square picture; the light one takes a tenth. */
const bySquare: Expectation = (style, side) => ((side * side) / 1e6) * (style === light ? 100 : 1000);
/** What a model of one fixed size takes, with the encoding of its answer. */
const fixed: Expectation = (style, side) => (style === light ? 50 : 500) + (20 * side) / 1024;

const order = (change: Partial<EffortOrder> = {}): EffortOrder => ({
  request: { effort: 'auto', maxSide: 1024 },
  picture: { width: 1024, height: 1024 },
  style: heavy,
  lighter: undefined,
  leftMs: 60_000,
  ...change,
});
const FULL = { side: undefined, style: undefined };

const cases: {
  name: string;
  order: EffortOrder;
  expect?: Expectation;
  style?: InstalledStyle;
  maxSide: number;
  effort: { side: number | undefined; style: string | undefined };
}[] = [
  { name: 'auto spares nothing when there is time', order: order(), maxSide: 1024, effort: FULL },
  {
    name: 'auto takes the largest size that is ready in time',
    order: order({ leftMs: 650 }),
    maxSide: 768,
    effort: { side: 768, style: undefined },
  },
  {
    name: 'auto goes down to the least side when time is shorter',
    order: order({ leftMs: 90 }),
    maxSide: 256,
    effort: { side: 256, style: undefined },
  },
  {
    name: 'auto does the least it can when nothing would be in time',
    order: order({ leftMs: 5 }),
    maxSide: 256,
    effort: { side: 256, style: undefined },
  },
  {
    name: 'a part of the time is kept for the way back',
    order: order({ leftMs: 1050 }),
    maxSide: 768,
    effort: { side: 768, style: undefined },
  },
  {
    name: 'full never shrinks, however short the time',
    order: order({ request: { effort: 'full', maxSide: 1024 }, leftMs: 1, lighter: light }),
    maxSide: 1024,
    effort: FULL,
  },
  {
    name: 'fast halves the answer, however long the time',
    order: order({ request: { effort: 'fast', maxSide: 1024 } }),
    maxSide: 512,
    effort: { side: 512, style: undefined },
  },
  {
    name: 'fast halves what a small photo would become, not max_side',
    order: order({ request: { effort: 'fast', maxSide: 1024 }, picture: { width: 640, height: 480 } }),
    maxSide: 320,
    effort: { side: 320, style: undefined },
  },
  {
    name: 'fast leaves a picture alone that is small enough, and says full',
    order: order({ request: { effort: 'fast', maxSide: 1024 }, picture: { width: 200, height: 100 } }),
    maxSide: 1024,
    effort: FULL,
  },
  {
    name: 'auto makes a model of one fixed size no smaller for the little that encoding takes',
    order: order({ leftMs: 100, style: framed }),
    expect: fixed,
    style: framed,
    maxSide: 1024,
    effort: FULL,
  },
  {
    name: 'fast leaves what a model of one fixed size draws whole, since it draws all of it in any case',
    order: order({ request: { effort: 'fast', maxSide: 512 }, style: framed }),
    style: framed,
    maxSide: 512,
    effort: FULL,
  },
  {
    name: 'so it does where such a model draws the background of faces',
    order: order({ request: { effort: 'fast', maxSide: 512 }, style: portrait }),
    style: portrait,
    maxSide: 512,
    effort: FULL,
  },
  {
    name: 'the lighter style comes only after the smallest size, and then at its largest',
    order: order({ leftMs: 60, lighter: light }),
    style: light,
    maxSide: 512,
    effort: { side: 512, style: 'light' },
  },
  {
    name: 'a smaller picture in the wanted style comes before the lighter one',
    order: order({ leftMs: 200, lighter: light }),
    maxSide: 384,
    effort: { side: 384, style: undefined },
  },
  {
    name: 'the lighter style of a model of one fixed size keeps the size',
    order: order({ leftMs: 100, style: framed, lighter: light }),
    expect: fixed,
    style: light,
    maxSide: 1024,
    effort: { side: undefined, style: 'light' },
  },
];
for (const { name, order, expect = bySquare, style = heavy, maxSide, effort } of cases)
  test(name, () => assert.deepEqual(chooseWay(order, expect), { style, maxSide, effort }));

const anyOrder = fc.record({
  effort: fc.constantFrom('fast' as const, 'auto' as const, 'full' as const),
  maxSide: fc.integer({ min: 16, max: 4096 }),
  width: fc.integer({ min: 16, max: 9000 }),
  height: fc.integer({ min: 16, max: 9000 }),
  leftMs: fc.integer({ min: 0, max: 5000 }),
  rate: fc.integer({ min: 1, max: 5000 }),
  lighter: fc.constantFrom(undefined, light),
});

test('no choice is larger than asked, and more time never makes a picture smaller', () => {
  fc.assert(
    fc.property(anyOrder, fc.integer({ min: 0, max: 5000 }), (given, moreMs) => {
      const { effort, maxSide, width, height, leftMs, rate, lighter } = given;
      const expect: Expectation = (style, side) =>
        ((Math.min(side, Math.max(width, height)) ** 2 / 1e6) * rate) / (style === light ? 10 : 1);
      const at = (ms: number) =>
        chooseWay(
          order({ request: { effort, maxSide }, picture: { width, height }, leftMs: ms, lighter }),
          expect,
        );
      const [one, more] = [at(leftMs), at(leftMs + moreMs)];
      assert.ok(one.maxSide <= maxSide && more.maxSide <= maxSide);
      if (effort !== 'auto') assert.deepEqual(one, more);
      else if (one.style === more.style) assert.ok(more.maxSide >= one.maxSide);
      else assert.equal(more.style, heavy);
      if (effort === 'full') assert.equal(one.maxSide, maxSide);
    }),
  );
});

test('what auto chooses is ready in time whenever anything is', () => {
  fc.assert(
    fc.property(anyOrder, ({ maxSide, width, height, leftMs, rate }) => {
      const full = Math.min(maxSide, Math.max(width, height));
      const expect: Expectation = (_style, side) => ((Math.min(side, full) ** 2 / 1e6) * rate) | 0;
      const picture = { width, height };
      const { maxSide: side } = chooseWay(
        order({ request: { effort: 'auto', maxSide }, picture, leftMs }),
        expect,
      );
      const budget = leftMs - Math.max(10, leftMs * 0.05);
      if (expect(heavy, Math.min(full, 256)) <= budget) assert.ok(expect(heavy, side) <= budget);
    }),
  );
});

const square = (side: number) => ({ width: side, height: side });
const spares: [name: string, effort: Effort, drawn: number, whole: number, said: string][] = [
  ['less than the whole', { side: 512 }, 512, 1024, 'fast; side=512'],
  ['as much as the whole, by a fixed frame of that very side', { side: 512 }, 512, 512, 'full'],
  ['less than allowed, by a smaller frame', { side: 512 }, 256, 256, 'full'],
  ['less than allowed, of a photo whose header was cut', { side: 512 }, 300, 1024, 'full'],
  ['the whole, in another style', { side: 512, style: 'light' }, 256, 256, 'fast; style=light'],
];
for (const [name, effort, drawn, whole, said] of spares)
  test(`what is drawn is ${name}: ${said}`, () =>
    assert.equal(effortHeader(spared(effort, square(drawn), square(whole))), said));
