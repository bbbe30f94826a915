import assert from 'node:assert/strict';
import test from 'node:test';
import {
  detectorInput,
  detectorSize,
  meansOf,
  shownSize,
  sortOutputs,
  sumUpMeans,
  whyOtherMeans,
} from './detector.ts';

for (const [width, height, shown, size] of [
  [1024, 683, [640, 427], [640, 448]],
  [683, 1024, [427, 640], [448, 640]],
  [200, 100, [200, 100], [224, 128]],
  [4000, 16, [640, 3], [640, 32]],
] as const) {
  test(`a picture of ${width}×${height} is shown as ${shown.join('×')} in ${size.join('×')}, and never enlarged`, () => {
    const spec = { side: 640, size_multiple: 32, fixed: false };
    const found = shownSize({ width, height }, spec);
    assert.deepEqual([found.width, found.height], shown);
    const input = detectorSize(found, spec);
    assert.deepEqual([input.width, input.height], size);
    assert.deepEqual(detectorSize(found, { ...spec, fixed: true }), { width: 640, height: 640 });
  });
}

const memory = (_type: 'uint8' | 'float32', length: number) => new Float32Array(length).fill(99);
const picture = { data: Uint8Array.of(10, 20, 30, 40, 50, 60), width: 2, height: 1 };
const spec = { mean: [1, 2, 3] as [number, number, number], scale: 2 };

test('pixels less the mean, times the scale, in the order of the channels; the rest is as the mean colour', () => {
  const size = { width: 3, height: 2 };
  assert.deepEqual(
    [...detectorInput(picture, size, { ...spec, layout: 'NHWC', channels: 'RGB' }, memory)],
    [18, 36, 54, 78, 96, 114, 0, 0, 0, ...Array<number>(9).fill(0)],
  );
  assert.deepEqual(
    [...detectorInput(picture, size, { ...spec, layout: 'NCHW', channels: 'BGR' }, memory)],
    [
      [58, 118, 0, 0, 0, 0],
      [36, 96, 0, 0, 0, 0],
      [14, 74, 0, 0, 0, 0],
    ].flat(),
  );
});

const output = (wide: number, count = 2) => ({
  data: new Float32Array(wide * count).fill(wide),
  dims: [1, count, wide],
});

test('outputs are told by their names, else by their last dimension', () => {
  const outputs = { a: output(10), b: output(2), c: output(4) };
  const raw = sortOutputs(outputs, 2, undefined);
  assert.deepEqual([raw.boxes[0], raw.scores[0], raw.landmarks[0]], [4, 2, 10]);
  const twins = { ...outputs, other: { ...output(4), data: new Float32Array(8).fill(1) } };
  const named = sortOutputs(twins, 2, { boxes: 'other', scores: 'b', landmarks: 'a' });
  assert.equal(named.boxes[0], 1);
});

test('an output that is missing, or does not fit the anchors, is a fault that says so', () => {
  assert.throws(() => sortOutputs({ a: output(10), b: output(2) }, 2, undefined), /no output for its boxes/);
  assert.throws(
    () => sortOutputs({ a: output(10), b: output(2), c: output(4, 3) }, 2, undefined),
    /boxes are 1×3×4, but its anchors ask for 2×4/,
  );
});

test('a detector is proven by the means of its outputs', () => {
  const means = meansOf({
    boxes: Float32Array.of(1, 2, 3, 4, 3, 4, 5, 6),
    scores: Float32Array.of(0, 1, 1, 0),
    landmarks: new Float32Array(20).fill(0.5),
  });
  assert.deepEqual(means, [2, 3, 4, 5, 0.5, 0.5, ...Array<number>(10).fill(0.5)]);
  const kept = sumUpMeans(means);
  assert.equal(whyOtherMeans(means, kept), undefined);
  assert.equal(
    whyOtherMeans(
      means.map((mean) => mean * 1.01),
      kept,
    ),
    undefined,
    'another CPU rounds otherwise',
  );
  assert.match(
    whyOtherMeans(
      means.map((mean) => mean + 0.3),
      kept,
    ) ?? '',
    /0\.2\d\d off/,
  );
  assert.match(
    whyOtherMeans(
      means.map(() => Number.NaN),
      kept,
    ) ?? '',
    /off/,
  );
  assert.match(whyOtherMeans(means, 'AAAA') ?? '', /means, not 16/);
});
