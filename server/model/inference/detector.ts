// A detector's way in and out: pixels to its tensor, its outputs to the three lists of numbers that faces are read from.
// Pure; session and files are the thread's.

import type { RawFaces } from '../../faces/detection.ts';
import type { DetectorSpec } from '../entries/face-entries.ts';
import { drawPicture, type Pixels } from '../golden.ts';
import type { TensorData, TensorMemory } from './tensor.ts';

/** Width and height, px. */
interface Size {
  readonly width: number;
  readonly height: number;
}

/** How large a picture is shown to a detector: never enlarged. */
export function shownSize({ width, height }: Size, { side }: Pick<DetectorSpec, 'side'>): Size {
  const factor = Math.min(1, side / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * factor)),
    height: Math.max(1, Math.round(height * factor)),
  };
}

/** The size of a detector's input for a picture that is shown to it. */
export function detectorSize(
  { width, height }: Size,
  { fixed, side, size_multiple: multiple }: Pick<DetectorSpec, 'fixed' | 'side' | 'size_multiple'>,
): Size {
  if (fixed) return { width: side, height: side };
  const up = (px: number) => Math.ceil(px / multiple) * multiple;
  return { width: up(width), height: up(height) };
}

/** Pixels in the top left corner of a detector's input; the rest is as the mean colour. */
export function detectorInput(
  { data, width, height }: Size & { readonly data: Uint8Array },
  size: Size,
  { layout, channels, mean, scale }: Pick<DetectorSpec, 'layout' | 'channels' | 'mean' | 'scale'>,
  memory: TensorMemory,
): TensorData {
  const plane = size.width * size.height;
  const tensor = memory('float32', 3 * plane);
  tensor.fill(0);
  const [perPixel, perChannel] = layout === 'NHWC' ? [3, 1] : [1, plane];
  for (let c = 0; c < 3; c++) {
    const from = channels === 'RGB' ? c : 2 - c;
    const taken = mean[c] as number;
    for (let y = 0; y < height; y++) {
      let at = y * size.width * perPixel + c * perChannel;
      let pixel = y * width * 3 + from;
      for (let x = 0; x < width; x++, at += perPixel, pixel += 3)
        tensor[at] = ((data[pixel] as number) - taken) * scale;
    }
  }
  return tensor;
}

/** What ONNX Runtime gives back, as far as it matters here. */
type Outputs = Readonly<Record<string, { readonly data: unknown; readonly dims: readonly number[] }>>;

/** Numbers an anchor, by what they are. */
const WIDTHS = { boxes: 4, scores: 2, landmarks: 10 } as const;

/**
 * Which output is which, by name or by its last dimension.
 * @throws {Error} for an output that is missing or has another length than the anchors ask for.
 */
export function sortOutputs(outputs: Outputs, anchors: number, names: DetectorSpec['outputs']): RawFaces {
  const find = (role: keyof typeof WIDTHS): Float32Array => {
    const wide = WIDTHS[role];
    const name = names?.[role] ?? Object.keys(outputs).find((each) => outputs[each]?.dims.at(-1) === wide);
    const output = name === undefined ? undefined : outputs[name];
    if (!(output?.data instanceof Float32Array))
      throw new Error(`it has no output for its ${role} (floats, ${wide} an anchor)`);
    if (output.data.length !== anchors * wide) {
      throw new Error(
        `its ${role} are ${output.dims.join('×')}, but its anchors ask for ${anchors}×${wide}; are strides and sizes right?`,
      );
    }
    return output.data;
  };
  return { boxes: find('boxes'), scores: find('scores'), landmarks: find('landmarks') };
}

/** The tiny picture that a detector is proven by. */
export function detectorPicture(
  { fixed, side, size_multiple: multiple }: Pick<DetectorSpec, 'fixed' | 'side' | 'size_multiple'>,
  seed: number,
): Pixels {
  const px = fixed ? side : Math.ceil(GOLDEN_SIDE / multiple) * multiple;
  return { data: drawPicture(px, px, seed), width: px, height: px };
}
const GOLDEN_SIDE = 128;

/** The mean of each of the sixteen numbers over all anchors. */
export function meansOf({ boxes, scores, landmarks }: RawFaces): number[] {
  return [means(boxes, 4), means(scores, 2), means(landmarks, 10)].flat();
}

function means(values: Float32Array, wide: number): number[] {
  const sums = new Array<number>(wide).fill(0);
  for (let at = 0; at < values.length; at++)
    sums[at % wide] = (sums[at % wide] as number) + (values[at] as number);
  return sums.map((sum) => sum / (values.length / wide));
}

/** How far a mean may be off on another CPU. */
const TOLERANCE = 0.02;

/** A detector's means as its manifest keeps them. */
export function sumUpMeans(found: readonly number[]): string {
  return Buffer.from(Float32Array.from(found).buffer).toString('base64');
}

/** What is wrong with a detector's means; undefined when they are what the manifest expects. */
export function whyOtherMeans(found: readonly number[], expected: string): string | undefined {
  const bytes = Uint8Array.from(Buffer.from(expected, 'base64'));
  if (bytes.length !== found.length * 4)
    return `the manifest expects ${bytes.length / 4} means, not ${found.length}`;
  const wanted = new Float32Array(bytes.buffer);
  const off = found.map(
    (mean, at) => Math.abs(mean - (wanted[at] ?? 0)) - TOLERANCE * Math.abs(wanted[at] ?? 0),
  );
  const worst = Math.max(...off);
  return worst <= TOLERANCE
    ? undefined
    : `its golden outputs are ${worst.toFixed(3)} off; allowed is ${TOLERANCE}`;
}
