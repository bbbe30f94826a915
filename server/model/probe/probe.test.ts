// Real graphs on ONNX Runtime whose right answers are known; real weights are in ../weights.slow.test.ts.

import assert from 'node:assert/strict';
import test from 'node:test';
import { InferenceSession } from 'onnxruntime-node';
import { ModelFault } from '../entries/fault.ts';
import type { ModelIo } from '../inference/messages.ts';
import { writeModel } from '../onnx/model-file.ts';
import { plainToon, type Traits } from './plain-toon.ts';
import { type Findings, type Known, probe } from './probe.ts';

async function probed(file: Uint8Array, known: Partial<Known> = {}): Promise<Findings> {
  const session = await InferenceSession.create(file);
  const [input, output] = [session.inputMetadata[0], session.outputMetadata[0]];
  assert.ok(input?.isTensor && output?.isTensor);
  const io: ModelIo = { input, output };
  await session.release();
  return await probe(file, {
    io,
    layout: undefined,
    channels: 'RGB',
    fixed: undefined,
    multiple: undefined,
    rangeKnown: false,
    ...known,
  });
}

const toon = (traits: Partial<Traits>) =>
  writeModel(plainToon({ layout: 'NCHW', range: [-1, 1], multiple: 4, draws: 'toon', ...traits }));

const known: [name: string, traits: Partial<Traits>][] = [
  ['NCHW, −1 to 1, multiples of 4', {}],
  ['NHWC, 0 to 1, multiples of 2', { layout: 'NHWC', range: [0, 1], multiple: 2 }],
  ['NHWC, 0 to 255, any size', { layout: 'NHWC', range: [0, 255], multiple: 1 }],
  ['NCHW, 0 to 255, multiples of 16', { range: [0, 255], multiple: 16 }],
  ['NCHW without a word about its shape', { dims: ['a', 'b', 'c', 'd'] }],
  ['NHWC without a word about its shape', { layout: 'NHWC', dims: ['a', 'b', 'c', 'd'], multiple: 8 }],
];
for (const [name, traits] of known) {
  test(`${name}: found out by running it`, async () => {
    const { layout, range, multiple } = { layout: 'NCHW', range: [-1, 1], multiple: 4, ...traits };
    const found = await probed(toon(traits));
    assert.deepEqual([found.layout, found.multiple, found.fixed], [layout, multiple, undefined]);
    assert.ok(found.range?.kind === 'sure', found.said.join('\n'));
    assert.deepEqual([found.range.reading.input, found.range.reading.output], [range, range]);
    assert.match(found.said.join('\n'), /sure, the drawing is 0\.\d\d from the photo/);
  });
}

test('a shape with numbers is the one size, and no other is tried', async () => {
  const found = await probed(toon({ dims: [1, 3, 192, 320] }));
  assert.deepEqual([found.fixed, found.multiple], [[320, 192], 1]);
  assert.match(found.said.join('\n'), /320×192 only: its shape shows it/);
  assert.equal(found.range?.kind, 'sure');
});

test('what the operator says is not tried again', async () => {
  const found = await probed(toon({}), { multiple: 32, rangeKnown: true, layout: 'NCHW' });
  assert.deepEqual([found.multiple, found.range], [32, undefined]);
});

test('where the operator says the size and nothing says the layout, the layout is the one that draws', async () => {
  for (const layout of ['NHWC', 'NCHW'] as const) {
    const file = toon({ layout, dims: ['a', 'b', 'c', 'd'] });
    const found = await probed(file, { multiple: 8, rangeKnown: true });
    assert.deepEqual([found.layout, found.multiple], [layout, 8]);
    const fixed = await probed(file, { fixed: [192, 128], rangeKnown: true });
    assert.deepEqual([fixed.layout, fixed.fixed], [layout, [192, 128]]);
  }
});

test('a network that gives back what it gets, and one that draws noise, are unsure', async () => {
  for (const draws of ['identity', 'noise'] as const) {
    const found = await probed(toon({ draws, multiple: 1 }));
    assert.equal(found.range?.kind, 'unsure', draws);
    assert.match(found.said.join('\n'), /not sure: /);
  }
});

test('a network that draws in no size that is tried says what to say', async () => {
  await assert.rejects(
    probed(toon({ multiple: 300, dims: [1, 3, 'h', 'w'] })),
    (error) => error instanceof ModelFault && /--fixed WxH/.test(error.message),
  );
});
