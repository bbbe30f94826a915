// A network whose channels are unequally loud is equalised, and both graphs are run.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { TensorFormat } from '../../entries/tensor-format.ts';
import { drawPicture } from '../../golden.ts';
import { type OnnxModel, writeModel } from '../../onnx/model-file.ts';
import { Builder } from '../builder.ts';
import { psnr } from '../quality.ts';
import { startTrial } from '../trial.ts';
import { equalised } from './equalise.ts';
import { type Observed, observe, valuesToWatch, watched } from './observation.ts';

const planar: TensorFormat = {
  layout: 'NCHW',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};
const picture = { data: drawPicture(64, 64, 1), width: 64, height: 64 };
const CHANNELS = 8;

interface Shape {
  /** What else reads the first norm's result, and takes no factor. */
  readonly tappedBy?: 'Sigmoid';
}

/** Norm, LeakyRelu, Pad, a depthwise convolution with a norm, a sum with what was before it, and a last convolution. */
function uneven({ tappedBy }: Shape = {}): OnnxModel {
  const net = new Builder('net');
  let state = 5;
  const even = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const tensor = (dims: number[], value: (index: number) => number) =>
    net.tensor({
      type: 'float32',
      dims,
      values: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, index) => value(index)),
    });
  const pads = net.ints([0, 0, 1, 1, 0, 0, 1, 1]);
  const conv = (of: string, [out, into, side]: [number, number, number], group = 1) => {
    const padded = side === 1 ? of : net.node('Pad', [of, pads], { mode: { string: 'reflect' } });
    return net.node('Conv', [padded, tensor([out, into, side, side], () => 0.3 * even())], {
      group: { int: group },
    });
  };
  // Both norms share their constants, as exporters do; one channel is a hundred times as loud as the others.
  const gamma = tensor([CHANNELS, 1, 1], (c) => (c === 2 ? 20 : 0.2));
  const beta = tensor([CHANNELS, 1, 1], (c) => 0.1 * c);
  const norm = (of: string) => {
    const row = net.node('Reshape', [of, net.ints([0, 1, -1])]);
    const normed = net.node('InstanceNormalization', [row, net.float([1]), net.float([0])]);
    const back = net.node('Reshape', [normed, net.node('Shape', [of])]);
    return net.node('Add', [net.node('Mul', [back, gamma]), beta]);
  };
  const first = norm(conv('in', [CHANNELS, 3, 3]));
  const bent = net.node('LeakyRelu', [first], { alpha: { float: 0.2 } });
  const deep = norm(conv(bent, [CHANNELS, 1, 3], CHANNELS));
  const sum = net.node('Add', [bent, deep]);
  let toon = net.node('Tanh', [conv(sum, [3, CHANNELS, 1])]);
  if (tappedBy !== undefined) {
    const tap = net.node('ReduceMean', [net.node(tappedBy, [first])], { keepdims: { int: 1 } });
    toon = net.node('Mul', [toon, tap]);
  }
  const dims = [1, 3, 'height', 'width'];
  return {
    irVersion: 8,
    opsets: { '': 17 },
    properties: {},
    name: 'uneven',
    inputs: [{ name: 'in', type: 'float32', dims }],
    outputs: [{ name: toon, type: 'float32', dims }],
    nodes: net.nodes,
    constants: net.constants,
  };
}

async function observed(model: OnnxModel): Promise<Map<string, Observed>> {
  const names = valuesToWatch(model);
  const known = new Map<string, Observed>();
  const trial = await startTrial(writeModel(watched(model, names)), planar);
  observe(known, await trial.run(picture), names);
  await trial.close();
  return known;
}

async function drawn(model: OnnxModel): Promise<Uint8Array> {
  const trial = await startTrial(writeModel(model), planar);
  const { data } = await trial.draw(picture);
  await trial.close();
  return data;
}

/** How many times as loud the loudest channel is as the quietest, in what the first LeakyRelu takes. */
function unevenness(model: OnnxModel, known: ReadonlyMap<string, Observed>): number {
  const bend = model.nodes.find(({ op }) => op === 'LeakyRelu');
  const peaks = known.get(bend?.inputs[0] ?? '')?.channels.map(({ peak }) => peak) ?? [];
  return Math.max(...peaks) / Math.min(...peaks);
}

test('channels come nearer to one range, and the network draws the same', async () => {
  const model = uneven();
  const before = await observed(model);
  const even = equalised(model, before);
  assert.ok(psnr(await drawn(model), await drawn(even)) > 70);
  assert.ok(unevenness(model, before) > 50, `${unevenness(model, before)} before`);
  const after = unevenness(even, await observed(even));
  assert.ok(after < unevenness(model, before) / 2, `${after} after`);
});

test('a value that something else reads keeps its channels as they are', async () => {
  const model = uneven({ tappedBy: 'Sigmoid' });
  const before = await observed(model);
  const even = equalised(model, before);
  assert.deepEqual(even.nodes, model.nodes);
  assert.deepEqual([...even.constants], [...model.constants]);
});
