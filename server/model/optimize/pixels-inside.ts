// Rewrites a float generator so that it takes an upload's pixels as bytes and gives the answer's: what the worker did in
// JavaScript before and behind the network becomes part of the graph. Everything else stays, to the last bit. Pure.

import { type OnnxModel, UnreadableModel } from '../onnx/model-file.ts';
import { Builder, PIXELS_IN, PIXELS_OUT } from './builder.ts';
import type { PictureFormat } from './integer.ts';

/**
 * The same network, from bytes to bytes, [1, height, width, 3] in RGB.
 * @throws {UnreadableModel} when it has not one input and one output of floats with four axes.
 */
export function pixelsInside(model: OnnxModel, format: PictureFormat): OnnxModel {
  const [input, ...moreIn] = model.inputs;
  const [output, ...moreOut] = model.outputs;
  if (!input || !output || moreIn.length + moreOut.length > 0)
    throw new UnreadableModel('it has more than one input and one output');
  if (input.type !== 'float32' || output.type !== 'float32' || input.dims.length !== 4)
    throw new UnreadableModel('its input and output are not floats with four axes');
  const built = new Builder('toonfleet');
  const opset = model.opsets[''] ?? 0;
  if (opset < 13) throw new UnreadableModel('its operator set is older than 13');

  const [black, light] = format.input.range;
  const swap = (name: string) =>
    format.channels === 'RGB'
      ? name
      : built.node('Gather', [name, built.ints([2, 1, 0])], { axis: { int: 3 } });
  const floats = built.node('Cast', [swap(PIXELS_IN)], { to: { int: 1 } });
  const scaled = built.node('Mul', [floats, built.float((light - black) / 255)]);
  const shifted = built.node('Add', [scaled, built.float(black)]);
  const planar = format.layout === 'NCHW';
  const first = planar ? built.node('Transpose', [shifted], { perm: { ints: [0, 3, 1, 2] } }) : shifted;
  built.nodes.push({ op: 'Identity', domain: '', inputs: [first], outputs: [input.name], attributes: {} });

  built.nodes.push(...model.nodes);

  const [darkest, brightest] = format.output.range;
  const factor = 255 / (brightest - darkest);
  const grown = built.node('Mul', [output.name, built.float(factor)]);
  const moved = built.node('Add', [grown, built.float(-darkest * factor)]);
  const clipped = built.node('Clip', [built.node('Round', [moved]), built.float(0), built.float(255)]);
  const bytes = built.node('Cast', [clipped], { to: { int: 2 } });
  const last = swap(planar ? built.node('Transpose', [bytes], { perm: { ints: [0, 2, 3, 1] } }) : bytes);
  built.nodes.push({ op: 'Identity', domain: '', inputs: [last], outputs: [PIXELS_OUT], attributes: {} });

  const [high, wide] = planar ? [input.dims[2], input.dims[3]] : [input.dims[1], input.dims[2]];
  const side = (dim: number | string | undefined, name: string) =>
    typeof dim === 'number' && dim > 0 ? dim : name;
  const dims = [1, side(high, 'height'), side(wide, 'width'), 3];
  return {
    ...model,
    name: `${model.name}-pixels`,
    inputs: [{ name: PIXELS_IN, type: 'uint8', dims }],
    outputs: [{ name: PIXELS_OUT, type: 'uint8', dims }],
    nodes: built.nodes,
    constants: new Map([...model.constants, ...built.constants]),
  };
}
