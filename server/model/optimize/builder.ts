// Writes the nodes of a new graph and keeps its constants: equal ones once. Knows no rewrite. Pure.

import type { Attribute, OnnxNode, OnnxTensor } from '../onnx/model-file.ts';

/** Operators that ONNX Runtime has beside those of ONNX. */
export const MICROSOFT = 'com.microsoft';

/** The input and the output of a graph that takes and gives pixels; no model calls its own so. */
export const PIXELS_IN = 'toonfleet-pixels-in';
export const PIXELS_OUT = 'toonfleet-pixels-out';

/** A graph in the making. */
export class Builder {
  readonly nodes: OnnxNode[] = [];
  readonly constants = new Map<string, OnnxTensor>();
  readonly #known = new Map<string, string>();
  readonly #prefix: string;

  /** @param prefix What every name begins with; another graph that is taken over must not use it. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Appends a node and gives its output's name. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): string {
    const output = `${this.#prefix}_${op.toLowerCase()}_${this.nodes.length}`;
    this.nodes.push({ op, domain, inputs, outputs: [output], attributes });
    return output;
  }

  /** The mean over some axes, which operator set 18 takes as an input and older ones as an attribute. */
  mean(value: string, axes: readonly number[], opset: number, keepdims: 0 | 1 = 1): string {
    const keep = { keepdims: { int: keepdims } };
    return opset >= 18
      ? this.node('ReduceMean', [value, this.ints(axes)], keep)
      : this.node('ReduceMean', [value], { axes: { ints: axes }, ...keep });
  }

  /** The largest or the least value over some axes, which operator set 18 takes as an input; those axes are gone. */
  reduce(op: 'ReduceMax' | 'ReduceMin', value: string, axes: readonly number[], opset: number): string {
    const gone = { keepdims: { int: 0 } };
    return opset >= 18
      ? this.node(op, [value, this.ints(axes)], gone)
      : this.node(op, [value], { axes: { ints: axes }, ...gone });
  }

  /** A float constant: one number, or a list along one axis. */
  float(value: number | readonly number[], dims?: readonly number[]): string {
    return typeof value === 'number'
      ? this.tensor({ type: 'float32', dims: dims ?? [], values: Float32Array.of(value) })
      : this.tensor({ type: 'float32', dims: dims ?? [value.length], values: Float32Array.from(value) });
  }

  /** One byte. */
  byte(value: number): string {
    return this.tensor({ type: 'uint8', dims: [], values: Uint8Array.of(value) });
  }

  /** A list of 64-bit integers: axes, sizes, paddings. */
  ints(values: readonly number[]): string {
    return this.tensor({ type: 'int64', dims: [values.length], values: Float64Array.from(values) });
  }

  tensor(tensor: OnnxTensor): string {
    const key =
      tensor.values.length > 4096
        ? undefined
        : JSON.stringify([tensor.type, tensor.dims, [...tensor.values]]);
    const known = key === undefined ? undefined : this.#known.get(key);
    if (known) return known;
    const name = `${this.#prefix}_constant_${this.constants.size}`;
    this.constants.set(name, tensor);
    if (key !== undefined) this.#known.set(key, name);
    return name;
  }
}
