// Turns 8-bit RGB pixels into a model's tensor and back: element type, value range, channel order, layout.
// Pure. The loops are plain and typed, since they run over every value of every picture.

import type { TensorFormat } from '../entries/tensor-format.ts';

/** Elements of a tensor, as ONNX Runtime takes and gives them. */
export type TensorData = Uint8Array | Float32Array;

/** The shape of a picture's tensor; `batched` says whether it has a leading 1. */
export function tensorShape(
  layout: TensorFormat['layout'],
  width: number,
  height: number,
  batched = true,
): number[] {
  const shape = layout === 'NHWC' ? [height, width, 3] : [3, height, width];
  return batched ? [1, ...shape] : shape;
}

/** Gives memory for a tensor; it may have been used before. */
export type TensorMemory = (type: 'uint8' | 'float32', length: number) => TensorData;

const freshMemory: TensorMemory = (type, length) =>
  type === 'uint8' ? new Uint8Array(length) : new Float32Array(length);

/** Pixels (RGB, row by row) as a model's input. Shares memory with `pixels` where nothing has to change. */
export function toTensor(
  pixels: Uint8Array,
  format: TensorFormat,
  memory: TensorMemory = freshMemory,
): TensorData {
  const { input, layout, channels } = format;
  if (layout === 'NHWC' && channels === 'RGB' && isPlain(input)) return pixels;
  const values = lookup(input.range, input.type);
  const tensor = memory(input.type, pixels.length);
  const [red, blue] = channels === 'RGB' ? [0, 2] : [2, 0];
  // The bounds of the loops keep every index inside its array; `?? 0` would cost a branch a value.
  if (layout === 'NHWC') {
    for (let at = 0; at < pixels.length; at += 3) {
      tensor[at] = values[pixels[at + red] as number] as number;
      tensor[at + 1] = values[pixels[at + 1] as number] as number;
      tensor[at + 2] = values[pixels[at + blue] as number] as number;
    }
  } else {
    const plane = pixels.length / 3;
    for (let at = 0, pixel = 0; pixel < plane; at += 3, pixel++) {
      tensor[pixel] = values[pixels[at + red] as number] as number;
      tensor[plane + pixel] = values[pixels[at + 1] as number] as number;
      tensor[2 * plane + pixel] = values[pixels[at + blue] as number] as number;
    }
  }
  return tensor;
}

/**
 * A model's output as pixels (RGB, row by row), rounded and clipped. Shares memory where nothing has to change.
 * @param into Takes the pixels; it has their length.
 */
export function fromTensor(
  tensor: TensorData,
  format: TensorFormat,
  into: Uint8Array = new Uint8Array(tensor.length),
): Uint8Array {
  const { output, layout, channels } = format;
  if (layout === 'NHWC' && channels === 'RGB' && isPlain(output) && tensor instanceof Uint8Array)
    return tensor;
  const [black, white] = output.range;
  const factor = 255 / (white - black);
  const offset = -black * factor;
  // A clamped array rounds and clips by itself; NaN becomes 0, which the golden picture notices.
  const pixels = new Uint8ClampedArray(into.buffer, into.byteOffset, into.length);
  const [red, blue] = channels === 'RGB' ? [0, 2] : [2, 0];
  if (layout === 'NHWC' && channels === 'RGB') {
    for (let at = 0; at < tensor.length; at++) pixels[at] = (tensor[at] as number) * factor + offset;
  } else {
    const plane = tensor.length / 3;
    const step = layout === 'NHWC' ? 3 : 1;
    const apart = layout === 'NHWC' ? 1 : plane;
    for (let at = 0, pixel = 0; pixel < plane; at += 3, pixel++) {
      const from = pixel * step;
      pixels[at + red] = (tensor[from] as number) * factor + offset;
      pixels[at + 1] = (tensor[from + apart] as number) * factor + offset;
      pixels[at + blue] = (tensor[from + 2 * apart] as number) * factor + offset;
    }
  }
  return into;
}

const isPlain = ({ type, range }: TensorFormat['input']) =>
  type === 'uint8' && range[0] === 0 && range[1] === 255;

/** What each of the 256 pixel values becomes. */
function lookup([black, white]: readonly [number, number], type: 'uint8' | 'float32'): TensorData {
  const values = Array.from({ length: 256 }, (_, value) => black + (value / 255) * (white - black));
  return type === 'uint8' ? Uint8Array.from(values, Math.round) : Float32Array.from(values);
}
