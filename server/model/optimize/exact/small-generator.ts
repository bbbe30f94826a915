// A generator in the small for tests: all that the exact rewrites look for, on a few channels with weights from a seed.

import type { OnnxModel } from '../../onnx/model-file.ts';
import { Builder } from '../builder.ts';

/** How it is written down. */
export interface Traits {
  readonly norm: 'none' | 'instance' | 'group' | 'lade';
  readonly layout: 'NHWC' | 'NCHW';
  readonly opset?: number;
}

const CHANNELS = 16;

/** A picture in and out, −1 to 1, sides in multiples of 2; it draws blots, not pictures. */
export function smallGenerator({ norm, layout, opset = 15 }: Traits): OnnxModel {
  const builder = new Builder('small');
  let seed = 7;
  const weights = (out: number, from: number, side: number) => {
    const values = Array.from({ length: out * from * side * side }, () => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return (seed / 2 ** 32 - 0.5) * (3 / Math.sqrt(from * side * side));
    });
    return builder.float(values, [out, from, side, side]);
  };
  const pad = (at: string, by: number) =>
    builder.node('Pad', [at, builder.ints([0, 0, by, by, 0, 0, by, by])], { mode: { string: 'reflect' } });
  /** As AnimeGANv3 has it: the deviation and the mean of a 1×1 convolution take the place of the layer's own. */
  const lade = (at: string) => {
    const bias = builder.float(Array.from({ length: CHANNELS }, (_, channel) => channel / CHANNELS - 0.4));
    const [own, other] = [at, builder.node('Conv', [at, weights(CHANNELS, CHANNELS, 1), bias])].map(
      (layer) => {
        const mean = builder.mean(layer, [2, 3], opset);
        const off = builder.node('Sub', [layer, mean]);
        const variance = builder.mean(builder.node('Mul', [off, off]), [2, 3], opset);
        const deviation = builder.node('Sqrt', [builder.node('Add', [variance, builder.float(1e-5)])]);
        return { mean, off, deviation };
      },
    );
    const even = builder.node('Div', [own?.off ?? '', own?.deviation ?? '']);
    const spread = builder.node('Mul', [even, other?.deviation ?? '']);
    return builder.node('Add', [spread, other?.mean ?? '']);
  };
  const normed = (at: string) => {
    if (norm === 'none') return at;
    if (norm === 'lade') return lade(at);
    const ones = (length: number) => builder.float(Array<number>(length).fill(1));
    const noughts = (length: number) => builder.float(Array<number>(length).fill(0));
    const epsilon = { epsilon: { float: 1e-5 } };
    if (norm === 'instance')
      return builder.node('InstanceNormalization', [at, ones(CHANNELS), noughts(CHANNELS)], epsilon);
    const row = builder.node('Reshape', [at, builder.ints([0, 1, -1])]);
    const even = builder.node('InstanceNormalization', [row, ones(1), noughts(1)], epsilon);
    return builder.node('Reshape', [even, builder.node('Shape', [at])]);
  };
  const layer = (at: string, from: number, side: number, stride = 1) => {
    const strides = { strides: { ints: [stride, stride] } };
    const convolved = builder.node('Conv', [pad(at, (side - 1) / 2), weights(CHANNELS, from, side)], strides);
    return builder.node('LeakyRelu', [normed(convolved)], { alpha: { float: 0.2 } });
  };
  const planes =
    layout === 'NCHW' ? 'picture' : builder.node('Transpose', ['picture'], { perm: { ints: [0, 3, 1, 2] } });
  const first = layer(planes, 3, 3);
  const small = layer(first, CHANNELS, 3, 2);
  const idle = builder.node('Pad', [small, builder.ints([0, 0, 0, 0, 0, 0, 0, 0])]);
  const large = builder.node('Resize', [idle, '', builder.float([1, 1, 2, 2])], {
    mode: { string: 'linear' },
    coordinate_transformation_mode: { string: 'asymmetric' },
  });
  const sum = builder.node('Add', [layer(large, CHANNELS, 3), first]);
  const colours = builder.node('Conv', [pad(sum, 3), weights(3, CHANNELS, 7)]);
  const drawn = builder.node('Tanh', [colours]);
  const output =
    layout === 'NCHW' ? drawn : builder.node('Transpose', [drawn], { perm: { ints: [0, 2, 3, 1] } });
  const dims = layout === 'NCHW' ? [1, 3, 'height', 'width'] : [1, 'height', 'width', 3];
  return {
    irVersion: 8,
    opsets: { '': opset },
    properties: {},
    name: 'small generator',
    inputs: [{ name: 'picture', type: 'float32', dims }],
    outputs: [{ name: output, type: 'float32', dims }],
    nodes: builder.nodes,
    constants: builder.constants,
  };
}
