// A generator for the tests of probing: softens the photo and brings out its contrasts, with any layout, range and multiple,
// so that the right answer is known. Pure.

import type { OnnxModel } from '../onnx/model-file.ts';
import { Builder } from '../optimize/builder.ts';
import type { ValueRange } from './range-verdict.ts';

/** How it takes and gives pictures. */
export interface Traits {
  readonly layout: 'NHWC' | 'NCHW';
  readonly range: ValueRange;
  /** Sides that are no multiples of it come out in another size. */
  readonly multiple: number;
  /** `identity` gives back what it got: any range is right. `noise` has nothing of the photo. */
  readonly draws: 'toon' | 'identity' | 'noise';
  /** As the file declares it; by default any size with the colours where they stand. */
  readonly dims?: readonly (number | string)[];
}

/** The model. */
export function plainToon({ layout, range, multiple, draws, dims }: Traits): OnnxModel {
  const built = new Builder('toon');
  const [black, white] = range;
  const scaled = (at: string, factor: number, offset: number) =>
    built.node('Add', [built.node('Mul', [at, built.float(factor)]), built.float(offset)]);
  const planes =
    layout === 'NCHW' ? 'photo' : built.node('Transpose', ['photo'], { perm: { ints: [0, 3, 1, 2] } });
  // 1×1 and one colour to one colour: it fails where the colours stand elsewhere.
  const weights = { type: 'float32', dims: [3, 3, 1, 1], values: Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) };
  const colours = built.node('Conv', [planes, built.tensor({ ...weights, type: 'float32' })]);
  const drawing = () => {
    const even = scaled(colours, 2 / (white - black), -1 - (2 * black) / (white - black));
    const kernel = { kernel_shape: { ints: [multiple, multiple] }, strides: { ints: [multiple, multiple] } };
    const small = built.node('AveragePool', [even], kernel);
    const large = built.node('Resize', [small, '', built.float([1, 1, multiple, multiple])], {
      mode: { string: 'linear' },
    });
    const bent =
      draws === 'noise'
        ? built.node('Sin', [scaled(large, 900, 0)])
        : built.node('Tanh', [scaled(large, 1.2, 0)]);
    return scaled(bent, (white - black) / 2, (white + black) / 2);
  };
  const drawn = draws === 'identity' ? colours : drawing();
  const output =
    layout === 'NCHW' ? drawn : built.node('Transpose', [drawn], { perm: { ints: [0, 2, 3, 1] } });
  const shape = dims ?? (layout === 'NCHW' ? [1, 3, 'h', 'w'] : [1, 'h', 'w', 3]);
  return {
    irVersion: 8,
    opsets: { '': 15 },
    properties: {},
    name: 'plain toon',
    inputs: [{ name: 'photo', type: 'float32', dims: shape }],
    outputs: [{ name: output, type: 'float32', dims: shape }],
    nodes: built.nodes,
    constants: built.constants,
  };
}
