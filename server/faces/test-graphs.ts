// Doubles for tests of what is drawn from several graphs: real ONNX files with the signatures of DCT-Net's branches and of
// a detector, each of which paints something of its own. Head and background paint slopes of position, so that a test
// reads from the answer where each pixel came from; a graph that gave its input back would look right wherever it lay.

import { type OnnxModel, type OnnxPort, writeModel } from '../model/onnx/model-file.ts';
import { Builder } from '../model/optimize/builder.ts';
import type { Landmarks } from './detection.ts';

function file(builder: Builder, inputs: OnnxPort[], outputs: OnnxPort[]): Uint8Array {
  const model: OnnxModel = {
    irVersion: 8,
    opsets: { '': 15 },
    properties: {},
    name: 'double',
    inputs,
    outputs,
    nodes: builder.nodes,
    constants: builder.constants,
  };
  return writeModel(model);
}

/** The head's side, px. */
export const HEAD_SIDE = 288;
/** Where the head's slopes are not clipped: two steps of colour a pixel, so that a place is read to a quarter of one. */
export const HEAD_FROM = 80;
export const headColour = (px: number) => Math.max(0, Math.min(255, 2 * (px - HEAD_FROM)));

/**
 * DCT-Net's head branch: BGR, no batch, 288×288. Blue tells how far right, green how far down, red is full.
 * @param copies Gives its input's blue and green back instead.
 */
export function headDouble({ copies = false } = {}): Uint8Array {
  const builder = new Builder('head');
  const dims = [HEAD_SIDE, HEAD_SIDE, 3];
  const slopes = new Float32Array(HEAD_SIDE * HEAD_SIDE * 3);
  for (let y = 0, at = 0; y < HEAD_SIDE; y++)
    for (let x = 0; x < HEAD_SIDE; x++, at += 3)
      slopes.set(copies ? [0, 0, 255] : [headColour(x), headColour(y), 255], at);
  const seen = builder.node('Mul', ['crop', builder.float(copies ? [1, 1, 0] : [0, 0, 0])]);
  const output = builder.node('Add', [seen, builder.tensor({ type: 'float32', dims, values: slopes })]);
  return file(builder, [{ name: 'crop', type: 'float32', dims }], [{ name: output, type: 'float32', dims }]);
}

/**
 * DCT-Net's background branch: BGR, no batch, any size. Green tells how far right of all that it was fed, blue how far
 * down, and red how far the last pixel that it was fed is from white.
 */
export function backgroundDouble(): Uint8Array {
  const builder = new Builder('background');
  const shape = builder.node('Shape', ['picture']);
  const scalar = (value: number) =>
    builder.tensor({ type: 'int64', dims: [], values: Float64Array.of(value) });
  const slope = (axis: number, form: number[]) => {
    const size = builder.node('Cast', [builder.node('Gather', [shape, scalar(axis)])], { to: { int: 1 } });
    const steps = builder.node('Range', [builder.float(0), size, builder.float(1)]);
    const step = builder.node('Div', [builder.float(255), builder.node('Sub', [size, builder.float(1)])]);
    return builder.node('Reshape', [builder.node('Mul', [steps, step]), builder.ints(form)]);
  };
  const slice = (starts: number[], ends: number[], axes: number[]) =>
    builder.node('Slice', ['picture', builder.ints(starts), builder.ints(ends), builder.ints(axes)]);
  const nothing = builder.node('Mul', [slice([0], [1], [2]), builder.float(0)]);
  const last = slice([-1, -1, 0], [1e9, 1e9, 1], [0, 1, 2]);
  const blue = builder.node('Add', [nothing, slope(0, [-1, 1, 1])]);
  const green = builder.node('Add', [nothing, slope(1, [1, -1, 1])]);
  const red = builder.node('Add', [nothing, builder.node('Sub', [builder.float(255), last])]);
  const output = builder.node('Concat', [blue, green, red], { axis: { int: 2 } });
  const dims = ['height', 'width', 3];
  return file(
    builder,
    [{ name: 'picture', type: 'float32', dims }],
    [{ name: output, type: 'float32', dims }],
  );
}

export const DETECTOR_SIDE = 128;
/** How far the detector double's places lie apart, px: four of them in 128×128. */
const FAR_APART = 64;
/** Its anchors: one size, a place each. */
export const detectorAnchors = (apart = FAR_APART) => [{ stride: apart, sizes: [apart] }];

/** A face that the detector double claims, in px of its 128×128. */
export interface ClaimedFace {
  readonly landmarks: Landmarks;
  readonly side: number;
}

/**
 * A detector of 128×128 that sees always the same faces, whatever it is shown.
 * @param apart How far its places lie apart, px; there is one for each face that it may see.
 */
export function detectorDouble(faces: readonly ClaimedFace[], apart = FAR_APART): Uint8Array {
  const across = DETECTOR_SIDE / apart;
  const builder = new Builder('detector');
  const output = (values: number[], wide: number) => {
    const constant = builder.tensor({
      type: 'float32',
      dims: [1, across * across, wide],
      values: Float32Array.from(values),
    });
    // The picture has to be looked at, or ONNX Runtime would take the input away.
    const look = builder.node('ReduceMean', ['picture'], { keepdims: { int: 0 } });
    return builder.node('Add', [constant, builder.node('Mul', [look, builder.float(0)])]);
  };
  const each = Array.from({ length: across * across }, (_, at) => ({
    middle: { x: apart * ((at % across) + 0.5), y: apart * (Math.floor(at / across) + 0.5) },
    face: faces[at],
  }));
  // A tenth of an anchor is one, and a fifth of a factor e.
  const unit = apart / 10;
  const boxes = each.flatMap(({ middle, face }) => {
    if (!face) return [0, 0, 0, 0];
    const [x, y] = ['x', 'y'].map(
      (axis) => face.landmarks.reduce((sum, point) => sum + point[axis as 'x' | 'y'], 0) / 5 + 0.5,
    ) as [number, number];
    const side = Math.log(face.side / apart) / 0.2;
    return [(x - middle.x) / unit, (y - middle.y) / unit, side, side];
  });
  const scores = each.flatMap(({ face }) => (face ? [0.05, 0.95] : [0.95, 0.05]));
  const points = each.flatMap(({ middle, face }) =>
    face
      ? face.landmarks.flatMap(({ x, y }) => [(x + 0.5 - middle.x) / unit, (y + 0.5 - middle.y) / unit])
      : Array<number>(10).fill(0),
  );
  const names = [output(boxes, 4), output(scores, 2), output(points, 10)];
  return file(
    builder,
    [{ name: 'picture', type: 'float32', dims: [1, 3, 'height', 'width'] }],
    names.map((name, at) => ({ name, type: 'float32', dims: [1, across * across, [4, 2, 10][at] ?? 0] })),
  );
}
