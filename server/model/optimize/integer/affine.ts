// What a norm does to each channel of one picture, worked out at run time from a thinned-out copy of what it works on. Pure.

import type { OnnxTensor } from '../../onnx/model-file.ts';
import type { Builder } from '../builder.ts';
import type { Norm } from '../norms.ts';

/** By names, each of one number a channel: value · factor + shift. */
export interface Affine {
  readonly factor: string;
  readonly shift: string;
}

/** Factor and shift of a norm from the values [1, rows, columns, channels] before it. */
export interface AffineParts {
  readonly values: string;
  readonly opset: number;
  /** What the values still have to be multiplied by. */
  readonly gain?: string | undefined;
}

/** Of mean and variance over all of the picture. */
export function momentsAffine(
  built: Builder,
  norm: Norm & { kind: 'group' | 'instance' },
  { values, opset, gain }: AffineParts,
): Affine {
  const whole = built.float(norm.epsilon);
  const epsilon = gain === undefined ? whole : built.node('Div', [whole, built.node('Mul', [gain, gain])]);
  const axes = norm.kind === 'group' ? [0, 1, 2, 3] : [0, 1, 2];
  const mean = built.mean(values, axes, opset, 0);
  const off = built.node('Sub', [values, mean]);
  const variance = built.mean(built.node('Mul', [off, off]), axes, opset, 0);
  const deviation = built.node('Sqrt', [built.node('Add', [variance, epsilon])]);
  const factor = built.node('Div', [built.float(norm.gamma), deviation]);
  return { factor, shift: built.node('Sub', [built.float(norm.beta), built.node('Mul', [mean, factor])]) };
}

/** The deviation and the mean of a 1×1 convolution take the place of the value's own. */
export function ladeAffine(
  built: Builder,
  norm: Norm & { kind: 'lade' },
  { values, opset }: AffineParts,
): Affine {
  const meanOf = (of: string) => built.mean(of, [0, 1, 2], opset, 0);
  const mean = meanOf(values);
  const off = built.node('Sub', [values, mean]);
  const across = built.tensor(turned(norm.weights));
  const mixed = built.node('MatMul', [off, across]);
  const newMean = built.node('Add', [built.node('MatMul', [mean, across]), built.float(norm.bias)]);
  const deviation = (of: string) => {
    const variance = meanOf(built.node('Mul', [of, of]));
    return built.node('Sqrt', [built.node('Add', [variance, built.float(Math.max(norm.epsilon, 1e-9))])]);
  };
  const factor = built.node('Div', [deviation(mixed), deviation(off)]);
  return { factor, shift: built.node('Sub', [newMean, built.node('Mul', [mean, factor])]) };
}

/** [output, input, 1, 1] as [input, output], which a matrix product along the last axis takes. */
function turned({ dims, values }: OnnxTensor): OnnxTensor {
  const [out = 1, into = 1] = dims;
  const across = new Float32Array(out * into);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < into; i++) across[i * out + o] = values[o * into + i] as number;
  return { type: 'float32', dims: [into, out], values: across };
}
