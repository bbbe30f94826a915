// Looking around in a graph: who makes a value, who uses it, which nodes an output needs. Pure.

import type { Attribute, OnnxModel, OnnxNode, OnnxTensor } from '../onnx/model-file.ts';

/** A model's graph with its edges in both directions. */
export class GraphView {
  readonly model: OnnxModel;
  readonly #producers = new Map<string, OnnxNode>();
  readonly #consumers = new Map<string, OnnxNode[]>();

  constructor(model: OnnxModel) {
    this.model = model;
    for (const node of model.nodes) {
      for (const output of node.outputs) this.#producers.set(output, node);
      for (const input of new Set(node.inputs)) {
        const known = this.#consumers.get(input);
        if (known) known.push(node);
        else this.#consumers.set(input, [node]);
      }
    }
  }

  producer(value: string | undefined): OnnxNode | undefined {
    return value === undefined ? undefined : this.#producers.get(value);
  }

  consumers(value: string | undefined): readonly OnnxNode[] {
    return value === undefined ? [] : (this.#consumers.get(value) ?? []);
  }

  /** The one node that uses a value; undefined when it is used more than once, or leaves the graph. */
  onlyConsumer(value: string | undefined): OnnxNode | undefined {
    const [first, ...more] = this.consumers(value);
    return more.length > 0 || this.isOutput(value) ? undefined : first;
  }

  constant(value: string | undefined): OnnxTensor | undefined {
    return value === undefined ? undefined : this.model.constants.get(value);
  }

  isOutput(value: string | undefined): boolean {
    return this.model.outputs.some(({ name }) => name === value);
  }
}

/** The nodes and constants that the outputs need, in their order. */
export function withoutDead(model: OnnxModel): OnnxModel {
  const needed = new Set(model.outputs.map(({ name }) => name));
  const nodes = [...model.nodes].reverse().filter((node) => {
    if (!node.outputs.some((output) => needed.has(output))) return false;
    for (const input of node.inputs) needed.add(input);
    return true;
  });
  const constants = new Map([...model.constants].filter(([name]) => needed.has(name)));
  return { ...model, nodes: nodes.reverse(), constants };
}

/** An attribute that is a list of whole numbers; `fallback` when the node has none. */
export function intsOf(node: OnnxNode, name: string, fallback: readonly number[] = []): readonly number[] {
  const found = node.attributes[name];
  return found && 'ints' in found ? found.ints : fallback;
}

export function intOf(node: OnnxNode, name: string, fallback: number): number {
  const found = node.attributes[name];
  return found && 'int' in found ? found.int : fallback;
}

export function floatOf(node: OnnxNode, name: string, fallback: number): number {
  const found = node.attributes[name];
  return found && 'float' in found ? found.float : fallback;
}

export function stringOf(node: OnnxNode, name: string, fallback: string): string {
  const found: Attribute | undefined = node.attributes[name];
  return found && 'string' in found ? found.string : fallback;
}
