// Rewrites a float generator so that it takes an upload's pixels as bytes and gives the answer's: what the worker did in
// JavaScript before and behind the network becomes part of the graph. Everything else stays, to the last bit. Pure.

import type { TensorFormat } from '../entries/tensor-format.ts';
import { type OnnxModel, UnreadableModel } from '../onnx/model-file.ts';
import { withBytes } from './exact/bytes.ts';

/**
 * The same network, from bytes to bytes, [1, height, width, 3] in RGB.
 * @throws {UnreadableModel} when it has not one input and one output of floats with four axes.
 */
export function pixelsInside(model: OnnxModel, format: TensorFormat): OnnxModel {
  const [input, ...moreIn] = model.inputs;
  const [output, ...moreOut] = model.outputs;
  if (!input || !output || moreIn.length + moreOut.length > 0)
    throw new UnreadableModel('it has more than one input and one output');
  if (input.type !== 'float32' || output.type !== 'float32' || input.dims.length !== 4)
    throw new UnreadableModel('its input and output are not floats with four axes');
  return {
    ...withBytes(model, format, { kind: 'as-before', value: output.name }),
    name: `${model.name}-pixels`,
  };
}
