import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { fromTensor, tensorShape, toTensor } from './tensor.ts';

const float = (range: [number, number]) => ({ type: 'float32' as const, range });
const bytes = { type: 'uint8' as const, range: [0, 255] as [number, number] };
/** Two pixels: red and 128-grey. */
const pixels = () => Uint8Array.from([255, 0, 0, 128, 128, 128]);

const cases: { name: string; format: TensorFormat; tensor: number[] }[] = [
  {
    name: 'bytes in RGB order by pixel are passed through',
    format: { layout: 'NHWC', channels: 'RGB', input: bytes, output: bytes },
    tensor: [255, 0, 0, 128, 128, 128],
  },
  {
    name: '[-1, 1] by pixel',
    format: { layout: 'NHWC', channels: 'RGB', input: float([-1, 1]), output: float([-1, 1]) },
    tensor: [1, -1, -1, 128 / 127.5 - 1, 128 / 127.5 - 1, 128 / 127.5 - 1],
  },
  {
    name: '[0, 1] by plane',
    format: { layout: 'NCHW', channels: 'RGB', input: float([0, 1]), output: float([0, 1]) },
    tensor: [1, 128 / 255, 0, 128 / 255, 0, 128 / 255],
  },
  {
    name: 'BGR by pixel in [0, 255] floats',
    format: { layout: 'NHWC', channels: 'BGR', input: float([0, 255]), output: float([0, 255]) },
    tensor: [0, 0, 255, 128, 128, 128],
  },
  {
    name: 'BGR by plane in bytes',
    format: { layout: 'NCHW', channels: 'BGR', input: bytes, output: bytes },
    tensor: [0, 128, 0, 128, 255, 128],
  },
];
for (const { name, format, tensor } of cases) {
  test(`${name}: pixels become the tensor`, () => {
    const found = Array.from(toTensor(pixels(), format));
    for (const [index, value] of tensor.entries()) assert.ok(Math.abs((found[index] ?? 9e9) - value) < 1e-6);
  });
  test(`${name}: the tensor becomes the pixels`, () => {
    const data = format.output.type === 'uint8' ? Uint8Array.from(tensor) : Float32Array.from(tensor);
    assert.deepEqual(Array.from(fromTensor(data, format)), Array.from(pixels()));
  });
}

test('any format gives back the pixels that it was given', () => {
  const format = fc.record({
    layout: fc.constantFrom('NHWC' as const, 'NCHW' as const),
    channels: fc.constantFrom('RGB' as const, 'BGR' as const),
    values: fc.constantFrom(bytes, float([-1, 1]), float([0, 1]), float([0, 255]), float([-127.5, 127.5])),
  });
  fc.assert(
    fc.property(
      format,
      fc.uint8Array({ minLength: 3, maxLength: 60 }),
      ({ layout, channels, values }, raw) => {
        const whole = raw.slice(0, raw.length - (raw.length % 3));
        const f = { layout, channels, input: values, output: values };
        assert.deepEqual(fromTensor(toTensor(whole.slice(), f).slice(), f), whole);
      },
    ),
  );
});

test('values outside the range are clipped, and rubbish becomes black', () => {
  const format: TensorFormat = { layout: 'NHWC', channels: 'RGB', input: bytes, output: float([-1, 1]) };
  assert.deepEqual(Array.from(fromTensor(Float32Array.from([-9, 9, Number.NaN]), format)), [0, 255, 0]);
});

test('shapes follow the layout, with and without a batch', () => {
  assert.deepEqual(tensorShape('NHWC', 4, 2), [1, 2, 4, 3]);
  assert.deepEqual(tensorShape('NCHW', 4, 2), [1, 3, 2, 4]);
  assert.deepEqual(tensorShape('NHWC', 4, 2, false), [2, 4, 3]);
});
