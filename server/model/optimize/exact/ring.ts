// The outermost pixels of a layer that was enlarged half a pixel off, padded and convolved. Inside, each is a convolution of
// the small layer; at the border, enlarging repeats the edge and padding mirrors it, and what they make together is no
// convolution of any padding of the small layer. So the border is drawn the long way, from two rows or columns a side, and
// put over what was wrong there. Pure.

import type { OnnxNode } from '../../onnx/model-file.ts';
import { Builder } from '../builder.ts';
import { stringOf } from '../graph.ts';

/** How the value of a layer ends whose border was put over it; by it the rewrite for blocks knows what the indices mean. */
export const RING = '/ring';

/** The steps that a border is drawn with. */
export interface LongWay {
  /** The layer before it is enlarged. */
  readonly small: string;
  readonly resize: OnnxNode;
  /** By one pixel. */
  readonly pad: OnnxNode;
  /** 3×3. */
  readonly conv: OnnxNode;
  /** Of the convolution's result. */
  readonly channels: number;
}

const ROWS = 2;
const COLUMNS = 3;
/** Further than any side. */
const END = 2 ** 31 - 1;

/**
 * The steps that put the border over a layer.
 * @param inner The layer, right but for its border.
 * @param result What the whole layer is called.
 */
export function withRing(way: LongWay, inner: string, result: string): Builder {
  const builder = new Builder(`${result}/border`);
  const rows = drawn(builder, way, ROWS);
  const columns = drawn(builder, way, COLUMNS);
  const between = `${result}/rows${RING}`;
  const whole = `${result}${RING}`;
  put(builder, [inner, rowsOf(builder, way.channels), rows], between);
  put(builder, [between, columnsOf(builder, columns, way.channels), columns], whole);
  builder.nodes.push({ op: 'Identity', domain: '', inputs: [whole], outputs: [result], attributes: {} });
  return builder;
}

const put = (builder: Builder, inputs: readonly string[], output: string) =>
  builder.nodes.push({ op: 'ScatterND', domain: '', inputs, outputs: [output], attributes: {} });

/** The first and the last row (or column) of the large layer, beside each other. */
function drawn(builder: Builder, { small, resize, pad, conv }: LongWay, axis: number): string {
  const again = ({ op, inputs, attributes, domain }: OnnxNode, value: string) =>
    builder.node(op, [value, ...inputs.slice(1)], attributes, domain);
  // Both ends one behind the other, as two pictures.
  const ends = builder.node(
    'Concat',
    [slice(builder, small, [[axis, 0, 2]]), slice(builder, small, [[axis, -2, END]])],
    { axis: { int: 0 } },
  );
  const large = builder.node('Resize', [ends, '', builder.float([1, 1, 2, 2])], {
    mode: { string: 'linear' },
    coordinate_transformation_mode: {
      string: stringOf(resize, 'coordinate_transformation_mode', 'half_pixel'),
    },
  });
  const padded = again(pad, large);
  // What was cut off is wrong in the same way at the other end of each; only three rows at the border are needed.
  const first = slice(builder, padded, [
    [0, 0, 1],
    [axis, 0, 3],
  ]);
  const last = slice(builder, padded, [
    [0, 1, 2],
    [axis, -3, END],
  ]);
  const border = again(conv, builder.node('Concat', [first, last], { axis: { int: 0 } }));
  return builder.node('Transpose', [border], {
    perm: { ints: axis === ROWS ? [ROWS, 1, 0, COLUMNS] : [COLUMNS, 1, ROWS, 0] },
  });
}

/** Along axes that are not repeated: [axis, from, to]. */
function slice(
  builder: Builder,
  value: string,
  parts: readonly (readonly [axis: number, from: number, to: number])[],
): string {
  const [axes, from, to] = [0, 1, 2].map((at) => builder.ints(parts.map((part) => part[at] ?? 0)));
  return builder.node('Slice', [value, from ?? '', to ?? '', axes ?? '']);
}

/** Where the first and the last row of each channel are. */
function rowsOf(builder: Builder, channels: number): string {
  const places = Array.from({ length: channels }, (_, channel) => [0, channel, 0, 0, channel, -1]);
  return indices(builder, [1, channels, 2, 3], places);
}

/** Where the first and the last pixel of each channel's every row are. */
function columnsOf(builder: Builder, columns: string, channels: number): string {
  const places = Array.from({ length: channels }, (_, channel) => [0, channel, 0, 0, 0, channel, 0, -1]);
  const firsts = indices(builder, [1, channels, 1, 2, 4], places);
  const one = (value: number) => builder.tensor({ type: 'int64', dims: [], values: Float64Array.of(value) });
  const rows = builder.node('Gather', [builder.node('Shape', [columns]), one(ROWS)]);
  const each = builder.node('Range', [one(0), rows, one(1)]);
  const down = builder.node('Reshape', [each, builder.ints([1, 1, -1, 1, 1])]);
  const step = builder.tensor({ type: 'int64', dims: [4], values: Float64Array.of(0, 0, 1, 0) });
  return builder.node('Add', [firsts, builder.node('Mul', [down, step])]);
}

const indices = (builder: Builder, dims: readonly number[], places: readonly (readonly number[])[]) =>
  builder.tensor({ type: 'int64', dims, values: Float64Array.from(places.flat()) });
