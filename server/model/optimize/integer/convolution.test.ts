// The same convolution in several forms is run by ONNX Runtime, and every byte is compared.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { writeModel } from '../../onnx/model-file.ts';
import { Builder, MICROSOFT } from '../builder.ts';
import { addToChannels } from './channels.ts';
import { type Convolution, convolve, convolveAtOnce, convolveByRows } from './convolution.ts';
import type { AtOnce } from './pixel-rows.ts';

interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** Runs what `make` appends behind an input picture of bytes. */
async function run(picture: Picture, make: (built: Builder) => string): Promise<number[]> {
  const { width, height, channels } = picture;
  const built = new Builder('net');
  const output = make(built);
  const port = (name: string) => ({ name, type: 'uint8', dims: [1, 'h', 'w', 'c'] }) as const;
  const model = writeModel({
    irVersion: 8,
    opsets: { '': 17, [MICROSOFT]: 1 },
    properties: {},
    name: 'convolution',
    inputs: [port('in')],
    outputs: [port(output)],
    nodes: built.nodes,
    constants: built.constants,
  });
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  try {
    const bytes = Uint8Array.from(
      { length: width * height * channels },
      (_, at) => Math.imul(at + 7, 2654435761) >>> 24,
    );
    const given = new Tensor('uint8', bytes, [1, height, width, channels]);
    const result = (await session.run({ in: given }))[output];
    return [...((result?.data ?? []) as Uint8Array)];
  } finally {
    await session.release();
  }
}

interface Kernel {
  readonly outputs: number;
  readonly inputs: number;
  readonly side: number;
  readonly strides?: readonly number[];
}

/** A convolution of the input, padded by reflection, with weights that differ everywhere. */
function convolution(
  built: Builder,
  { outputs, inputs, side, strides = [1, 1] }: Kernel,
): Convolution & { readonly bias: readonly number[] } {
  const pads = [0, 1, 1, 0].map((axis) => (axis * (side - 1)) / 2);
  const name = built.node('Pad', ['in', built.ints([...pads, ...pads])], { mode: { string: 'reflect' } });
  const length = outputs * inputs * side * side;
  const values = Int8Array.from({ length }, (_, at) => (Math.imul(at + 1, 40503) >> 5) % 128);
  return {
    value: { name, scale: 0.02, zero: 120, order: 'NCHW', rest: 0 },
    weights: { type: 'int8', dims: [outputs, inputs, side, side], values },
    scales: Array.from({ length: outputs }, (_, c) => 0.001 * (c + 3)),
    bias: Array.from({ length: outputs }, (_, c) => 31 * c - 100),
    levels: { scale: 0.05, zero: 128 },
    strides,
    pads: [0, 0, 0, 0],
    group: 1,
  };
}

const kernels = fc.record({
  outputs: fc.integer({ min: 1, max: 20 }),
  inputs: fc.integer({ min: 1, max: 6 }),
  side: fc.constantFrom(1, 3, 5, 7),
});
const sizes = fc.record({
  width: fc.integer({ min: 3, max: 6 }).map((groups) => 4 * groups),
  height: fc.integer({ min: 8, max: 13 }),
});

test('several pixels of a row at once have the bytes of each by itself', async () => {
  await fc.assert(
    fc.asyncProperty(kernels, sizes, fc.constantFrom<AtOnce>(1, 2, 4), async (kernel, size, pixels) => {
      const picture = { ...size, channels: kernel.inputs };
      const plain = await run(picture, (built) => convolve(built, convolution(built, kernel)));
      assert.equal(plain.length, size.width * size.height * kernel.outputs);
      assert.deepEqual(
        await run(picture, (built) => convolveAtOnce(built, convolution(built, kernel), pixels)),
        plain,
      );
    }),
    { numRuns: 40 },
  );
});

test('scales that are known at run time only stand for each of the pixels', async () => {
  const kernel = { outputs: 3, inputs: 2, side: 3 };
  const picture = { width: 12, height: 8, channels: 2 };
  const withNames = (built: Builder) => {
    const parts = convolution(built, kernel);
    const scales = built.node('Mul', [built.float(parts.scales as number[]), built.float([2])]);
    return { ...parts, scales };
  };
  assert.deepEqual(
    await run(picture, (built) => convolveAtOnce(built, withNames(built), 4)),
    await run(picture, (built) => convolve(built, withNames(built))),
  );
});

test('what nobody padded gets the columns that it lacks', async () => {
  const unpadded = (built: Builder) => {
    const parts = convolution(built, { outputs: 4, inputs: 2, side: 3 });
    return { ...parts, value: { ...parts.value, name: 'in' } };
  };
  const picture = { width: 14, height: 8, channels: 2 };
  assert.deepEqual(
    await run(picture, (built) => convolveAtOnce(built, unpadded(built), 4)),
    await run(picture, (built) => convolve(built, unpadded(built))),
  );
});

test('rows as pictures of their own have the bytes of the whole picture, with any stride', async () => {
  const strides = fc.constantFrom([1, 1], [2, 2], [2, 1]);
  await fc.assert(
    fc.asyncProperty(kernels, sizes, strides, async (kernel, size, step) => {
      const picture = { ...size, channels: kernel.inputs };
      const given = { ...kernel, strides: step };
      assert.deepEqual(
        await run(picture, (built) => convolveByRows(built, convolution(built, given))),
        await run(picture, (built) => convolve(built, convolution(built, given))),
      );
    }),
    { numRuns: 30 },
  );
});

test('numbers are added to each channel, however many pixels are taken in one go', async () => {
  const picture = { width: 12, height: 3, channels: 5 };
  const sum = (multiple: number) => (built: Builder) =>
    addToChannels(built, 'in', {
      more: built.node('Mul', [built.float([-9, -0.5, 0, 2, 7]), built.float([1])]),
      channels: 5,
      widths: { multiple, least: 12 },
      before: { scale: 0.1, zero: 100 },
      after: { scale: 0.12, zero: 90 },
    });
  const each = await run(picture, sum(1));
  assert.equal(new Set(each).size > 20, true);
  assert.deepEqual(await run(picture, sum(4)), each);
  assert.deepEqual(await run(picture, sum(1.5)), each);
});
