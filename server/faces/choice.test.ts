import assert from 'node:assert/strict';
import test from 'node:test';
import { chooseFaces } from './choice.ts';
import { area, type Face } from './detection.ts';

const P = { x: 0, y: 0 };
const face = (left: number, top: number, side: number, score = 0.9): Face => ({
  box: { left, top, right: left + side, bottom: top + side },
  landmarks: [P, P, P, P, P],
  score,
});
const SIZE = { width: 1000, height: 800 };

test('of 200 faces the largest eight are drawn, the largest of them last', () => {
  const faces = Array.from({ length: 200 }, (_, nth) =>
    face((nth % 20) * 40, Math.floor(nth / 20) * 40, 32 + ((nth * 7) % 200) / 10),
  );
  const chosen = chooseFaces(faces, SIZE, { most: 8, smallest: 32 });
  assert.equal(chosen.length, 8);
  const areas = chosen.map(({ box }) => area(box));
  assert.deepEqual(
    areas,
    [...areas].sort((one, other) => one - other),
  );
  const least = areas[0] ?? 0;
  assert.equal(faces.filter((each) => area(each.box) > least && !chosen.includes(each)).length, 0);
});

for (const [what, faces, count] of [
  ['a face of 8 px', [face(100, 100, 8)], 0],
  ['a face of just the least side', [face(100, 100, 32)], 1],
  [
    'a long thin one whose area alone would do',
    [{ ...face(0, 0, 1), box: { left: 0, top: 0, right: 20, bottom: 400 } }],
    0,
  ],
  ['one whose middle lies beyond the edge', [face(980, 100, 60)], 0],
  ['one that is cut by the edge', [face(960, 100, 60)], 1],
  ['none', [], 0],
] as const) {
  test(`${what}: ${count} to draw`, () => {
    assert.equal(chooseFaces(faces, SIZE, { most: 8, smallest: 32 }).length, count);
  });
}
