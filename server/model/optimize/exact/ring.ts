// The outermost pixels of a layer that was enlarged half a pixel off, padded and convolved. Inside, each is a convolution of
// the small layer; at the border, enlarging repeats the edge and padding mirrors it, and what they make together is no
// convolution of any padding of the small layer. So the border is drawn the long way, from two rows or columns a side, and
// put over what was wrong there. Pure.

import type { OnnxNode } from '../../onnx/model-file.ts';
import { Builder } from '../builder.ts';
import { stringOf } from '../graph.ts';

/** How the value of a layer ends whose first and last rows (or columns) were put over it; it tells the rewrite for blocks. */
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
  putOver(builder, inner, rows, ROWS, between);
  putOver(builder, between, columns, COLUMNS, whole);
  builder.nodes.push({ op: 'Identity', domain: '', inputs: [whole], outputs: [result], attributes: {} });
  return builder;
}

/** Works in place where the layer is not needed any more as it was. */
function putOver(builder: Builder, layer: string, ends: string, axis: number, output: string): void {
  const indices = endsOf(builder, ends, axis, 4);
  builder.nodes.push({
    op: 'ScatterElements',
    domain: '',
    inputs: [layer, indices, ends],
    outputs: [output],
    attributes: { axis: { int: axis } },
  });
}

/** For each value of the two ends whether it belongs to the first or to the last row (or column). */
export function endsOf(builder: Builder, ends: string, axis: number, rank: number): string {
  const dims = Array.from({ length: rank }, (_, at) => (at === axis ? 2 : 1));
  const both = builder.tensor({ type: 'int64', dims, values: Float64Array.of(0, -1) });
  return builder.node('Expand', [both, builder.node('Shape', [ends])]);
}

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
