import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { inverse, moved, type Similarity } from './similarity.ts';
import { blendFace, type Canvas, type CropPlan, cropFace, reach, toneBetween } from './warp.ts';

/** A photo in which each colour tells a place: red across, green down, blue along the diagonal. */
function slopes(width: number, height: number, stride = width): Canvas {
  const data = new Uint8Array(stride * height * 3).fill(7);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) data.set([x, y, (x + y) / 2], (y * stride + x) * 3);
  return { data, stride, width, height };
}
const flat = (width: number, height: number, value: number): Canvas => ({
  ...slopes(width, height),
  data: new Uint8Array(width * height * 3).fill(value),
});

const SIDE = 64;
const plan = (toCrop: Similarity, more: Partial<CropPlan> = {}): CropPlan => ({
  toCrop,
  side: SIDE,
  beyond: 'edge',
  tone: 'own',
  ...more,
});
/** Turns about the photo's middle, so that most of the crop shows photo. */
const turned = fc
  .tuple(fc.double({ min: 0.3, max: 3, noNaN: true }), fc.double({ min: -3.2, max: 3.2, noNaN: true }))
  .map(([scale, angle]): Similarity => {
    const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)];
    return { a, b, x: 31.5 - a * 100 + b * 100, y: 31.5 - b * 100 - a * 100 };
  });

test('a crop shows each place of the photo within half a pixel of where it belongs', () => {
  fc.assert(
    fc.property(turned, (toCrop) => {
      const photo = slopes(201, 201, 208);
      const crop = new Uint8Array(SIDE * SIDE * 3);
      cropFace(photo, plan(toCrop), crop);
      for (let v = 4; v < SIDE; v += 11) {
        for (let u = 4; u < SIDE; u += 11) {
          const { x, y } = moved({ x: u, y: v }, inverse(toCrop));
          if (x < 3 || y < 3 || x > 197 || y > 197) continue;
          const at = (v * SIDE + u) * 3;
          // Colours are places, rounded: half a step of rounding.
          assert.ok(Math.abs((crop[at] ?? 0) - x) <= 0.51, `${crop[at]} and not ${x}`);
          assert.ok(Math.abs((crop[at + 1] ?? 0) - y) <= 0.51);
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('beyond the photo a crop shows its edge, or white', () => {
  const photo = flat(20, 20, 90);
  const away: Similarity = { a: 1, b: 0, x: 40, y: 40 };
  const crop = new Uint8Array(SIDE * SIDE * 3);
  cropFace(photo, plan(away), crop);
  assert.equal(crop[0], 90);
  cropFace(photo, plan(away, { beyond: 'white' }), crop);
  assert.equal(crop[0], 255);
  assert.equal(crop[(50 * SIDE + 50) * 3], 90, 'inside it is the photo');
});

test('padding beside the photo is never seen', () => {
  const photo = slopes(20, 20, 32);
  const crop = new Uint8Array(SIDE * SIDE * 3);
  cropFace(photo, plan({ a: 1, b: 0, x: 0, y: 0 }), crop);
  assert.equal(crop[(5 * SIDE + 30) * 3], 19, 'the edge, and not the 7 of the padding');
});

test('a large face in a small crop is a mean, and not every tenth pixel', () => {
  const stripes = flat(200, 200, 0);
  for (let at = 0; at < stripes.data.length; at++) stripes.data[at] = Math.floor(at / 3) % 2 === 0 ? 255 : 0;
  const crop = new Uint8Array(SIDE * SIDE * 3);
  cropFace(stripes, plan({ a: 1 / 3, b: 0, x: 0, y: 0 }), crop);
  for (let at = SIDE * 30 * 3; at < SIDE * 31 * 3; at++)
    assert.ok(Math.abs((crop[at] ?? 0) - 127) < 50, `${crop[at]}`);
});

test('a face is laid where it was taken from, within half a pixel, at whatever turn and scale', () => {
  fc.assert(
    fc.property(turned, (toCrop) => {
      const drawing = flat(201, 201, 3);
      const face = new Uint8Array(SIDE * SIDE * 3);
      for (let v = 0; v < SIDE; v++)
        for (let u = 0; u < SIDE; u++) face.set([u * 4, v * 4, 200], (v * SIDE + u) * 3);
      const whole = plan(toCrop);
      blendFace(drawing, face, new Uint8Array(SIDE * SIDE).fill(255), whole);
      const { left, top, right, bottom } = reach(whole, drawing);
      for (let y = 0; y < 201; y += 7) {
        for (let x = 0; x < 201; x += 7) {
          const { x: u, y: v } = moved({ x, y }, toCrop);
          const at = (y * 201 + x) * 3;
          const margin = 3;
          if (u > margin && v > margin && u < SIDE - 1 - margin && v < SIDE - 1 - margin) {
            assert.ok(x >= left && x <= right && y >= top && y <= bottom);
            assert.ok(Math.abs((drawing.data[at] ?? 0) / 4 - u) <= 0.2);
            assert.ok(Math.abs((drawing.data[at + 1] ?? 0) / 4 - v) <= 0.2);
          } else if (u < -margin || v < -margin || u > SIDE + margin || v > SIDE + margin) {
            assert.equal(drawing.data[at], 3, 'beside the face nothing changes');
          }
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('the mask says how much is seen, and beyond the picture nothing is written', () => {
  const drawing = flat(40, 40, 100);
  const mask = new Uint8Array(SIDE * SIDE);
  for (let at = 0; at < mask.length; at++) mask[at] = (at % SIDE) * 4;
  const face = new Uint8Array(SIDE * SIDE * 3).fill(200);
  blendFace(drawing, face, mask, plan({ a: 1, b: 0, x: 0, y: 0 }));
  for (const x of [0, 10, 25, 39])
    assert.ok(Math.abs((drawing.data[(20 * 40 + x) * 3] ?? 0) - (100 + (100 * x * 4) / 255)) <= 1, `${x}`);
});

test('a face takes the light that the drawing has around it', () => {
  const drawing = flat(64, 64, 160);
  const face = new Uint8Array(SIDE * SIDE * 3).fill(140);
  const half = new Uint8Array(SIDE * SIDE).fill(128);
  const at = plan({ a: 1, b: 0, x: 0, y: 0 });
  const tone = toneBetween(drawing, face, half, at);
  assert.deepEqual(tone.map(Math.round), [20, 20, 20]);
  assert.deepEqual(toneBetween(flat(64, 64, 255), new Uint8Array(SIDE * SIDE * 3), half, at), [48, 48, 48]);
  assert.deepEqual(toneBetween(drawing, face, new Uint8Array(SIDE * SIDE).fill(255), at), [0, 0, 0]);
  blendFace(drawing, face, half, at, tone);
  const seen = drawing.data[(30 * 64 + 30) * 3] ?? 0;
  assert.ok(seen > 150 && seen <= 160, `${seen}`);
});
