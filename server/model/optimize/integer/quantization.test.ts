import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { chooseLevels, chooseLevelsBehind, levelsOf, quantizeWeights, round } from './quantization.ts';

const finite = fc.float({ noNaN: true, min: -1000, max: 1000 });

test('inside the range a value is at most half a step off, and zero is exact', () => {
  fc.assert(
    fc.property(finite, finite, fc.double({ min: 0, max: 1, noNaN: true }), (one, other, part) => {
      const [low, high] = [Math.min(one, other, 0), Math.max(one, other, 0)];
      const levels = levelsOf(low, high);
      const value = low + part * (high - low);
      // Zero may stand half a step beside its place, so the ends may be a whole one off.
      assert.ok(Math.abs(round(value, levels) - value) <= levels.scale * 1.001);
      assert.equal(round(0, levels), 0);
    }),
  );
});

const errorOf = (samples: Float32Array, draw: (value: number) => number, curve = (value: number) => value) =>
  samples.reduce((sum, value) => sum + (draw(value) - curve(value)) ** 2, 0);

test('chosen levels are never worse than those from the least to the largest value', () => {
  fc.assert(
    fc.property(fc.array(finite, { minLength: 1, maxLength: 50 }), (values) => {
      const samples = Float32Array.from(values);
      const whole = levelsOf(Math.min(...samples), Math.max(...samples));
      const chosen = chooseLevels(samples);
      const [found, plain] = [chosen, whole].map((levels) =>
        errorOf(samples, (value) => round(value, levels)),
      );
      assert.ok((found ?? 0) <= (plain ?? 0) * 1.001 + 1e-9);
    }),
  );
});

test('one rare outlier does not cost everybody else their steps', () => {
  const samples = Float32Array.from({ length: 6000 }, (_, at) => Math.sin(at));
  samples[0] = 1.5;
  assert.ok(chooseLevels(samples).scale < levelsOf(-1, 1.5).scale);
});

test('levels behind a curve are never worse than those before it', () => {
  const leaky = (value: number) => (value < 0 ? value * 0.2 : value);
  const samples = Float32Array.from({ length: 2000 }, (_, at) => 3 * Math.sin(at) - 1);
  const before = chooseLevels(samples, leaky);
  const behind = chooseLevelsBehind(samples, before, leaky);
  const error = (levels: typeof before) =>
    errorOf(samples, (value) => round(leaky(round(value, before)), levels), leaky);
  assert.ok(error(behind) <= error(before));
});

test('each channel of weights has a scale of its own', () => {
  const { weights, scales, sums } = quantizeWeights({
    type: 'float32',
    dims: [2, 2, 1, 1],
    values: Float32Array.of(127, -63.5, 1, 0.5),
  });
  assert.deepEqual([...weights.values], [127, -63, 127, 64]);
  assert.deepEqual(scales, [1, Math.fround(1 / 127)]);
  assert.deepEqual(sums, [63.5, 1.5]);
});
