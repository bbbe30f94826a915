// Small networks of the true architectures are rewritten, and both graphs are run.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture, type Pixels } from '../golden.ts';
import { type OnnxModel, readModel, writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from './animegan-v2.ts';
import { Builder } from './builder.ts';
import { optimizeFloats, optimizeToIntegers, type Task } from './optimize.ts';

const planar: TensorFormat = {
  layout: 'NCHW',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};
const picture = (width: number, height: number, seed: number): Pixels => ({
  data: drawPicture(width, height, seed),
  width,
  height,
});
const small = { widths: [8, 16, 16, 32], residuals: 1 } as const;

function task(model: OnnxModel, format: TensorFormat, leastPsnr = 30): Task & { said: string[] } {
  const said: string[] = [];
  return {
    file: writeModel(model),
    format,
    widths: { multiple: 32, least: 32 },
    calibration: [picture(64, 64, 1), picture(64, 64, 2)],
    proof: [picture(64, 64, 3), picture(96, 64, 4)],
    leastPsnr,
    leastRatio: 0,
    say: (sentence) => void said.push(sentence),
    said,
  };
}

/** Operators of a model, counted. */
function operators(file: Uint8Array): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op } of readModel(file).nodes) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}

test('the AnimeGANv2 architecture works on bytes from pixels to pixels, and draws the same', async () => {
  const { file, pictures, layers } = await optimizeToIntegers(task(animeganV2(7, small), planar));
  const counts = operators(file);
  assert.equal(counts.Conv ?? 0, 0);
  assert.equal(counts.InstanceNormalization ?? 0, 0);
  // Nothing changes its layout; both enlargings put what their convolution gave side by side.
  assert.deepEqual([counts.Resize ?? 0, counts.Transpose ?? 0], [0, 2]);
  assert.equal(layers.length, operators(writeModel(animeganV2(7, small))).Conv);
  // The picture's own range is part of what a layer's bytes stand for.
  for (const { name, db = 0 } of layers) assert.ok(db > 15, `${name}: ${db} dB`);
  assert.equal(pictures.length, 2);
  for (const { psnr, width } of pictures) assert.ok(psnr >= 30, `${psnr} dB at ${width}`);
});

test('a plain photo, whose few edges a norm makes huge, leaves busy photos their steps', async () => {
  const plain: Pixels = { data: new Uint8Array(128 * 128 * 3).fill(128), width: 128, height: 128 };
  plain.data.fill(255, 3 * (128 * 30 + 30), 3 * (128 * 30 + 34));
  const worstWith = async (calibration: readonly Pixels[]) => {
    const order = { ...task(animeganV2(7, small), planar, 20), calibration, proof: [picture(128, 128, 3)] };
    const { pictures } = await optimizeToIntegers(order);
    return Math.min(...pictures.map(({ psnr }) => psnr));
  };
  const busy = [picture(128, 128, 1), picture(128, 128, 2)];
  const [without, beside] = [await worstWith(busy), await worstWith([...busy, plain])];
  assert.ok(beside > without - 3.5, `${beside} dB beside a plain photo, ${without} dB without`);
});

test('blue-green-red models keep their colours', async () => {
  const swapped = { ...planar, channels: 'BGR' } as const;
  const { pictures } = await optimizeToIntegers(task(animeganV2(7, small), swapped));
  assert.ok(pictures.every(({ psnr }) => psnr >= 30));
});

/**
 * One convolution with AnimeGANv3's LADE behind it, and one that gives colours.
 * @param enlarged The picture is made four times smaller first, and enlarged from the corner twice.
 */
function ladeNetwork(enlarged = false): OnnxModel {
  const net = new Builder('net');
  let state = 1;
  const even = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const weights = (...dims: number[]) =>
    net.tensor({
      type: 'float32',
      dims,
      values: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => 0.3 * even()),
    });
  const pads = net.ints([0, 0, 1, 1, 0, 0, 1, 1]);
  const padded = (of: string) => net.node('Pad', [of, pads], { mode: { string: 'reflect' } });
  const bend = (of: string) => net.node('LeakyRelu', [of], { alpha: { float: 0.2 } });
  const halved = (of: string, from: number) =>
    bend(net.node('Conv', [padded(of), weights(16, from, 3, 3), weights(16)], { strides: { ints: [2, 2] } }));
  const doubled = (of: string) =>
    net.node('Resize', [of, '', net.float([1, 1, 2, 2])], {
      mode: { string: 'linear' },
      coordinate_transformation_mode: { string: 'asymmetric' },
    });
  const grown = () => {
    const small = doubled(halved(halved('in', 3), 16));
    return doubled(bend(net.node('Conv', [padded(small), weights(16, 16, 3, 3), weights(16)])));
  };
  const x = net.node('Conv', [
    padded(enlarged ? grown() : 'in'),
    weights(16, enlarged ? 16 : 3, 3, 3),
    weights(16),
  ]);
  const pool = (of: string) => net.node('GlobalAveragePool', [of]);
  const deviation = (off: string) =>
    net.node('Sqrt', [net.node('Add', [pool(net.node('Mul', [off, off])), net.float([1e-5], [1, 1, 1, 1])])]);
  const off = net.node('Sub', [x, pool(x)]);
  const even1 = net.node('Mul', [off, net.node('Reciprocal', [deviation(off)])]);
  const mixed = net.node('Conv', [x, weights(16, 16, 1, 1), weights(16)]);
  const mean = pool(mixed);
  const spread = deviation(net.node('Sub', [mixed, mean]));
  const normed = net.node('Add', [net.node('Mul', [even1, spread]), mean]);
  const toon = net.node('Tanh', [net.node('Conv', [padded(bend(normed)), weights(3, 16, 3, 3)])]);
  const dims = [1, 3, 'height', 'width'];
  return {
    irVersion: 8,
    opsets: { '': 17 },
    properties: {},
    name: 'lade',
    inputs: [{ name: 'in', type: 'float32', dims }],
    outputs: [{ name: toon, type: 'float32', dims }],
    nodes: net.nodes,
    constants: net.constants,
  };
}

test('LADE becomes scales and biases of its convolution; its own convolution is left for a few rows only', async () => {
  const { file, pictures } = await optimizeToIntegers(task(ladeNetwork(), planar));
  const counts = operators(file);
  assert.deepEqual([counts.Conv ?? 0, counts.GlobalAveragePool ?? 0, counts.QLinearConv], [0, 0, 3]);
  assert.ok(
    pictures.every(({ psnr }) => psnr >= 30),
    JSON.stringify(pictures),
  );
});

test('enlarging from the corner goes into its convolution, with LADE behind it and without', async () => {
  const { file, pictures, layers } = await optimizeToIntegers(task(ladeNetwork(true), planar));
  const counts = operators(file);
  assert.deepEqual([counts.Conv ?? 0, counts.Resize ?? 0, counts.QLinearConv], [0, 0, 6]);
  assert.equal(layers.length, 5);
  for (const { psnr } of pictures) assert.ok(psnr >= 30, JSON.stringify(pictures));
});

test('black that stands far from zero is part of the first bias', async () => {
  const far: TensorFormat = { ...planar, input: { type: 'float32', range: [1, 3] } };
  const { pictures } = await optimizeToIntegers(task(ladeNetwork(), far));
  assert.ok(
    pictures.every(({ psnr }) => psnr >= 30),
    JSON.stringify(pictures),
  );
});

test('layers stay floats until the quality is enough, and when it never is, that is a fault', async () => {
  const order = task(ladeNetwork(), planar, 90);
  await assert.rejects(optimizeToIntegers(order), /stays below 90 dB: no layer is left|no convolution/);
  assert.match(order.said.join('\n'), /stays float: [\d.]+ dB for \d+ ms/);
});

test('with the pixels inside, floats draw the same picture', async () => {
  const { file, pictures } = await optimizeFloats(task(animeganV2(7, small), planar));
  assert.equal(readModel(file).inputs[0]?.type, 'uint8');
  assert.ok(pictures.every(({ psnr }) => psnr > 60));
});
