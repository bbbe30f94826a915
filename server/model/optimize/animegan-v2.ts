// The generator of AnimeGANv2 by its architecture, with weights from a seed: what benches and tests measure speed on,
// since the true weights cannot be shipped. It draws no pictures worth looking at. Pure.
// Written down the way PyTorch exports it: reflecting Pad, Conv, GroupNorm(1) as Reshape → InstanceNormalization →
// Reshape → Mul → Add, LeakyRelu.

import type { Attribute, OnnxModel } from '../onnx/model-file.ts';
import { Builder } from './builder.ts';

/** Widths of the network; the true one has [32, 64, 128, 256]. */
export interface Widths {
  readonly widths: readonly [number, number, number, number];
  readonly residuals: number;
}

const TRUE_WIDTHS: Widths = { widths: [32, 64, 128, 256], residuals: 3 };

/** The model file's content for any size that is a multiple of 4; NCHW, RGB, −1 to 1. */
export function animeganV2(seed: number, { widths, residuals }: Widths = TRUE_WIDTHS): OnnxModel {
  const [w1, w2, w3, w4] = widths;
  const net = new Network(seed);
  const down = [0, 0, 1, 1] as const;
  let at = net.convNormAct('image', { from: 3, to: w1, kernel: 7, pads: [3, 3, 3, 3] });
  at = net.convNormAct(at, { from: w1, to: w2, stride: 2, pads: down });
  at = net.convNormAct(at, { from: w2, to: w2 });
  at = net.convNormAct(at, { from: w2, to: w3, stride: 2, pads: down });
  at = net.convNormAct(at, { from: w3, to: w3 });
  at = net.convNormAct(at, { from: w3, to: w3 });
  at = net.invertedResidual(at, w3, w4);
  for (let block = 0; block < residuals; block++) at = net.invertedResidual(at, w4, w4);
  at = net.convNormAct(at, { from: w4, to: w3 });
  at = net.doubled(at);
  at = net.convNormAct(at, { from: w3, to: w3 });
  at = net.convNormAct(at, { from: w3, to: w3 });
  at = net.doubled(at);
  at = net.convNormAct(at, { from: w3, to: w2 });
  at = net.convNormAct(at, { from: w2, to: w2 });
  at = net.convNormAct(at, { from: w2, to: w1, kernel: 7, pads: [3, 3, 3, 3] });
  return net.model(net.conv(at, { from: w1, to: 3, kernel: 1, pads: [0, 0, 0, 0] }));
}

interface Layer {
  readonly from: number;
  readonly to: number;
  readonly kernel?: number;
  readonly stride?: number;
  readonly groups?: number;
  /** Top, left, bottom, right. */
  readonly pads?: readonly [number, number, number, number];
}

class Network {
  readonly #built = new Builder('net');
  readonly #even: () => number;

  constructor(seed: number) {
    this.#even = evenly(seed);
  }

  conv(at: string, { from, to, kernel = 3, stride = 1, groups = 1, pads = [1, 1, 1, 1] }: Layer): string {
    const [top, left, bottom, right] = pads;
    const built = this.#built;
    const padded = pads.some((pad) => pad > 0)
      ? built.node('Pad', [at, built.ints([0, 0, top, left, 0, 0, bottom, right])], {
          mode: { string: 'reflect' },
        })
      : at;
    const dims = [to, from / groups, kernel, kernel];
    // As PyTorch begins: evenly between ±1/√(values that one result is made of).
    const bound = 1 / Math.sqrt((from / groups) * kernel * kernel);
    const weights = this.#constant(dims, () => (2 * this.#even() - 1) * bound);
    return built.node('Conv', [padded, weights], {
      kernel_shape: { ints: [kernel, kernel] },
      strides: { ints: [stride, stride] },
      pads: { ints: [0, 0, 0, 0] },
      dilations: { ints: [1, 1] },
      group: { int: groups },
    });
  }

  norm(at: string, channels: number): string {
    const built = this.#built;
    const row = built.node('Reshape', [at, built.ints([0, 1, -1])]);
    const even = built.node('InstanceNormalization', [row, built.float([1]), built.float([0])], {
      epsilon: { float: 1e-5 },
    });
    const planes = built.node('Reshape', [even, built.node('Shape', [at])]);
    const gamma = this.#constant([channels, 1, 1], () => 1);
    const beta = this.#constant([channels, 1, 1], () => 0);
    return built.node('Add', [built.node('Mul', [planes, gamma]), beta]);
  }

  convNormAct(at: string, layer: Layer): string {
    return this.#built.node('LeakyRelu', [this.norm(this.conv(at, layer), layer.to)], {
      alpha: { float: 0.2 },
    });
  }

  invertedResidual(at: string, from: number, to: number): string {
    const inner = from * 2;
    const flat = { kernel: 1, pads: [0, 0, 0, 0] } as const;
    const wide = this.convNormAct(at, { from, to: inner, ...flat });
    const deep = this.convNormAct(wide, { from: inner, to: inner, groups: inner });
    const narrow = this.norm(this.conv(deep, { from: inner, to, ...flat }), to);
    return from === to ? this.#built.node('Add', [at, narrow]) : narrow;
  }

  doubled(at: string): string {
    const attributes: Record<string, Attribute> = {
      mode: { string: 'linear' },
      coordinate_transformation_mode: { string: 'pytorch_half_pixel' },
    };
    return this.#built.node('Resize', [at, '', this.#built.float([1, 1, 2, 2])], attributes);
  }

  model(last: string): OnnxModel {
    const toon = this.#built.node('Tanh', [last]);
    const dims = [1, 3, 'height', 'width'];
    return {
      irVersion: 8,
      opsets: { '': 17 },
      properties: {},
      name: 'animegan-v2-architecture',
      inputs: [{ name: 'image', type: 'float32', dims }],
      outputs: [{ name: toon, type: 'float32', dims }],
      nodes: this.#built.nodes,
      constants: this.#built.constants,
    };
  }

  #constant(dims: readonly number[], value: () => number): string {
    const length = dims.reduce((product, dim) => product * dim, 1);
    return this.#built.tensor({ type: 'float32', dims, values: Float32Array.from({ length }, value) });
  }
}

/** Numbers between 0 and 1, the same for the same seed. */
function evenly(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}
