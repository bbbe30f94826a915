import assert from 'node:assert/strict';
import test from 'node:test';
import { alignment, TEMPLATES } from './alignment.ts';
import type { Landmarks } from './detection.ts';
import { moved, scaleOf } from './similarity.ts';

/** A face that stands upright in the template's own proportions: 100 px from eye to eye or so, somewhere in a photo. */
const faceOf = (template: (typeof TEMPLATES)[keyof typeof TEMPLATES], turn = 0): Landmarks =>
  template.map(([x, y]) => ({
    x: 500 + 400 * (x * Math.cos(turn) - y * Math.sin(turn)),
    y: 300 + 400 * (x * Math.sin(turn) + y * Math.cos(turn)),
  })) as unknown as Landmarks;

for (const name of ['ffhq', 'dct-net'] as const) {
  for (const turn of [0, 0.6, -2.5, Math.PI]) {
    test(`a face turned by ${turn} stands where ${name} wants it`, () => {
      const template = TEMPLATES[name];
      const marks = faceOf(template, turn);
      const toCrop = alignment(marks, template, 288);
      marks.forEach((mark, index) => {
        const [x = 0, y = 0] = template[index] ?? [];
        const { x: u, y: v } = moved(mark, toCrop);
        assert.ok(Math.hypot(u - x * 288, v - y * 288) < 1e-6);
      });
      assert.ok(Math.abs(scaleOf(toCrop) - 288 / 400) < 1e-9);
    });
  }
}

test("DCT-Net's five points stand in its crop of 288 px where its authors put them", () => {
  // By hand from their numbers, for the left eye: x = (((30.29459953 + 1 + 8) − 56) · 0.75 + 56) · 288 / 112.
  const [[x = 0, y = 0] = []] = TEMPLATES['dct-net'];
  assert.ok(Math.abs(x * 288 - 111.7825) < 1e-3, `${x * 288}`);
  assert.ok(Math.abs(y * 288 - 137.6286) < 1e-3, `${y * 288}`);
});
