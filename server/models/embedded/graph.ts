// A small language for image arithmetic that writes itself down as an ONNX graph.
// Knows planes, filters and curves; knows nothing of looks or files.

import type { Attribute, Model, Node, Tensor } from './onnx-file.ts';

/** A value on its way through the graph: planes [1, channels, height, width] unless said otherwise. */
export class Planes {
  readonly graph: Graph;
  readonly name: string;

  constructor(graph: Graph, name: string) {
    this.graph = graph;
    this.name = name;
  }

  plus(other: Operand): Planes {
    return this.graph.node('Add', [this, other]);
  }

  minus(other: Operand): Planes {
    return this.graph.node('Sub', [this, other]);
  }

  times(other: Operand): Planes {
    return this.graph.node('Mul', [this, other]);
  }

  over(other: Operand): Planes {
    return this.graph.node('Div', [this, other]);
  }

  atLeast(other: Operand): Planes {
    return this.graph.node('Max', [this, other]);
  }

  atMost(other: Operand): Planes {
    return this.graph.node('Min', [this, other]);
  }

  clip(low: number, high: number): Planes {
    return this.graph.node('Clip', [this, low, high]);
  }

  /** An element-wise function by its ONNX name: Sqrt, Log, Floor, Tanh, Relu … */
  apply(op: string): Planes {
    return this.graph.node(op, [this]);
  }
}

/** A number stands for one value everywhere; a list for one value a channel. */
export type Operand = Planes | number | readonly number[];

/** Collects nodes and constants in the order they are asked for, so the same recipe is the same file. */
export class Graph {
  readonly #nodes: Node[] = [];
  readonly #constants = new Map<string, Tensor>();

  /** The picture: uint8 [1, height, width, 3] in the file, 0 to 1 in planes inside. */
  readonly picture: Planes;

  constructor() {
    const planar = this.node('Transpose', [new Planes(this, 'image')], { perm: { ints: [0, 3, 1, 2] } });
    this.picture = this.node('Cast', [planar], { to: { int: 1 } }).times(1 / 255);
  }

  /** Appends one ONNX node and returns its output. */
  node(op: string, inputs: readonly Operand[], attributes: Readonly<Record<string, Attribute>> = {}): Planes {
    const output = `${op.toLowerCase()}_${this.#nodes.length}`;
    this.#nodes.push({ op, inputs: inputs.map((each) => this.#operand(each)), output, attributes });
    return new Planes(this, output);
  }

  /** A float constant of any shape. */
  tensor(dims: readonly number[], values: readonly number[]): Planes {
    return this.#constant('float', dims, values);
  }

  /** A constant of 64-bit integers: sizes, axes, offsets. */
  integers(values: readonly number[]): Planes {
    return this.#constant('int64', [values.length], values);
  }

  /** Closes the graph: planes of 0 to 1 become uint8 [1, height, width, 3]. */
  model(result: Planes, name: string, description: string, properties: Record<string, string>): Model {
    const bytes = this.node('Cast', [result.times(255).plus(0.5).clip(0, 255)], { to: { int: 2 } });
    const last = this.node('Transpose', [bytes], { perm: { ints: [0, 2, 3, 1] } });
    const shape = [1, 'height', 'width', 3];
    return {
      name,
      description,
      properties,
      inputs: [{ name: 'image', type: 'uint8', dims: shape }],
      outputs: [{ name: 'toon', type: 'uint8', dims: shape }],
      nodes: this.#nodes.map((each) => (each.output === last.name ? { ...each, output: 'toon' } : each)),
      constants: [...this.#constants.values()],
    };
  }

  #operand(operand: Operand): string {
    if (operand instanceof Planes) return operand.name;
    if (typeof operand === 'number') return this.#constant('float', [], [operand]).name;
    return this.#constant('float', [1, operand.length, 1, 1], operand).name;
  }

  /** Equal constants are stored once. */
  #constant(type: Tensor['type'], dims: readonly number[], values: readonly number[]): Planes {
    const key = JSON.stringify([type, dims, values]);
    const known = this.#constants.get(key);
    const name = known?.name ?? `constant_${this.#constants.size}`;
    if (!known) this.#constants.set(key, { name, type, dims, values });
    return new Planes(this, name);
  }
}

/** The mean over a square of side 2·radius + 1. Only pixels inside the picture count, so borders stay clean. */
export function box(planes: Planes, radius: number): Planes {
  // Two lines instead of a square: 2·(2r + 1) reads a pixel instead of (2r + 1)².
  const line = (from: Planes, [high, wide]: readonly [number, number]): Planes =>
    from.graph.node('AveragePool', [from], {
      kernel_shape: { ints: [2 * high + 1, 2 * wide + 1] },
      pads: { ints: [high, wide, high, wide] },
      count_include_pad: { int: 0 },
    });
  return line(line(planes, [0, radius]), [radius, 0]);
}

/** The weighted sum of the channels, in one plane. */
export function mix(planes: Planes, weights: readonly number[]): Planes {
  // A matrix product of one row: at 512×512 it takes 0.5 ms where a 1×1 Conv takes 1.8 and ReduceSum 2.5.
  const { graph } = planes;
  const rows = graph.node('Reshape', [planes, graph.integers([1, weights.length, -1])]);
  const row = graph.node('MatMul', [graph.tensor([1, weights.length], weights), rows]);
  const size = graph.node('Shape', [planes], { start: { int: 2 } });
  const shape = graph.node('Concat', [graph.integers([1, 1]), size], { axis: { int: 0 } });
  return graph.node('Reshape', [row, shape]);
}

/** The largest value in a square of side 2·radius + 1. */
export function peak(planes: Planes, radius: number): Planes {
  const line = (from: Planes, [high, wide]: readonly [number, number]): Planes =>
    from.graph.node('MaxPool', [from], {
      kernel_shape: { ints: [2 * high + 1, 2 * wide + 1] },
      pads: { ints: [high, wide, high, wide] },
    });
  return line(line(planes, [0, radius]), [radius, 0]);
}

/** One pixel for every square of `factor` pixels; the last row and column are repeated to fill the last squares. */
export function shrink(planes: Planes, factor: number): Planes {
  const { graph } = planes;
  const size = graph.node('Shape', [planes], { start: { int: 2 } });
  const missing = graph.node('Mod', [graph.node('Neg', [size]), graph.integers([factor])]);
  const pads = graph.node('Concat', [graph.integers([0, 0, 0, 0, 0, 0]), missing], { axis: { int: 0 } });
  const whole = graph.node('Pad', [planes, pads], { mode: { string: 'edge' } });
  return graph.node('AveragePool', [whole], {
    kernel_shape: { ints: [factor, factor] },
    strides: { ints: [factor, factor] },
  });
}

/** The way back from `shrink`, linear in between, to the height and width of `like`. */
export function scaleUp(planes: Planes, factor: number, like: Planes): Planes {
  const { graph } = planes;
  const noRegion = new Planes(graph, '');
  const scales = graph.tensor([4], [1, 1, factor, factor]);
  const large = graph.node('Resize', [planes, noRegion, scales], { mode: { string: 'linear' } });
  const size = graph.node('Shape', [like], { start: { int: 2 } });
  return graph.node('Slice', [large, graph.integers([0, 0]), size, graph.integers([2, 3])]);
}

/** Repeats the border pixels `radius` times outward. */
export function padEdge(planes: Planes, radius: number): Planes {
  const pads = planes.graph.integers([0, 0, radius, radius, 0, 0, radius, radius]);
  return planes.graph.node('Pad', [planes, pads], { mode: { string: 'edge' } });
}
