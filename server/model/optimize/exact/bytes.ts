// Bytes in and bytes out: what the worker would do to every value of every picture, done by the graph. Pure.

import type { TensorFormat } from '../../entries/tensor-format.ts';
import { DATA_TYPE, type OnnxModel, type OnnxNode, type OnnxPort } from '../../onnx/model-file.ts';
import { Builder, PIXELS_IN, PIXELS_OUT } from '../builder.ts';
import type { Planes } from './output.ts';

/** The graph with a picture's bytes as its input and its output, [1, height, width, 3] each. */
export function withBytes(model: OnnxModel, format: TensorFormat, planes: Planes): OnnxModel {
  const builder = new Builder('bytes');
  const [given] = model.inputs;
  const dims = sizeOf(given, format);
  const taken = bytesIn(builder, format, given?.name ?? '');
  const behind = builder.nodes.length;
  bytesOut(builder, format, planes);
  const [inside, outside] = [builder.nodes.slice(0, behind), builder.nodes.slice(behind)];
  return {
    ...model,
    inputs: [{ name: PIXELS_IN, type: 'uint8', dims }],
    outputs: [{ name: PIXELS_OUT, type: 'uint8', dims }],
    nodes: [...inside, ...taken, ...model.nodes, ...outside],
    constants: new Map([...model.constants, ...builder.constants]),
  };
}

/** The input's dimensions with the colours last; a fixed size stays fixed. */
function sizeOf(input: OnnxPort | undefined, { layout }: TensorFormat): OnnxPort['dims'] {
  const [height, width] = input?.dims.slice(layout === 'NHWC' ? 1 : 2) ?? [];
  const side = (dim: number | string | undefined, name: string) =>
    typeof dim === 'number' && dim > 0 ? dim : name;
  return [1, side(height, 'height'), side(width, 'width'), 3];
}

/** From bytes to what the graph's first step takes under the name it knows; the step that names it is returned. */
function bytesIn(builder: Builder, { layout, channels, input }: TensorFormat, name: string): OnnxNode[] {
  const [black, white] = input.range;
  let value = PIXELS_IN;
  if (channels === 'BGR')
    value = builder.node('Gather', [value, builder.ints([2, 1, 0])], { axis: { int: 3 } });
  if (layout === 'NCHW') value = builder.node('Transpose', [value], { perm: { ints: [0, 3, 1, 2] } });
  if (input.type === 'uint8') return [{ ...identity(value, name) }];
  value = builder.node('Cast', [value], { to: { int: DATA_TYPE.float32 } });
  value = builder.node('Mul', [value, builder.float((white - black) / 255)]);
  return [{ ...identity(value, name), op: 'Add', inputs: [value, builder.float(black)] }];
}

const identity = (from: string, to: string): OnnxNode => ({
  op: 'Identity',
  domain: '',
  inputs: [from],
  outputs: [to],
  attributes: {},
});

/** From what the graph gives to bytes, rounded and clipped as the worker would. */
function bytesOut(builder: Builder, { layout, channels, output }: TensorFormat, planes: Planes): void {
  const [black, white] = output.range;
  let { value } = planes;
  if (output.type === 'float32') {
    const factor = 255 / (white - black);
    value = builder.node('Mul', [value, builder.float(factor)]);
    value = builder.node('Add', [value, builder.float(-black * factor)]);
    value = builder.node('Clip', [builder.node('Round', [value]), builder.float(0), builder.float(255)]);
    value = builder.node('Cast', [value], { to: { int: DATA_TYPE.uint8 } });
  }
  if (planes.kind === 'phases') value = interleave(builder, value);
  else if (layout === 'NCHW') value = builder.node('Transpose', [value], { perm: { ints: [0, 2, 3, 1] } });
  if (channels === 'BGR')
    value = builder.node('Gather', [value, builder.ints([2, 1, 0])], { axis: { int: 3 } });
  builder.nodes.push(identity(value, PIXELS_OUT));
}

/** [1, 12, h, w] to [1, 2h, 2w, 3]. */
function interleave(builder: Builder, value: string): string {
  const side = (axis: number) =>
    builder.node('Shape', [value], { start: { int: axis }, end: { int: axis + 1 } });
  const [height, width] = [side(2), side(3)];
  const join = (parts: string[]) => builder.node('Concat', parts, { axis: { int: 0 } });
  const apart = builder.node('Reshape', [value, join([builder.ints([1, 2, 2, 3]), height, width])]);
  const woven = builder.node('Transpose', [apart], { perm: { ints: [0, 4, 1, 5, 2, 3] } });
  const twice = (length: string) => builder.node('Add', [length, length]);
  return builder.node('Reshape', [
    woven,
    join([builder.ints([1]), twice(height), twice(width), builder.ints([3])]),
  ]);
}
