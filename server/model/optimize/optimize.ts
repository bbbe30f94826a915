// Makes a faster variant of a model and proves it: observe the float graph on photos, rewrite, run both, compare, and let
// layers that hurt stay floats. Knows no command line and writes no file.

import { ModelFault } from '../entries/fault.ts';
import { PIXEL_FORMAT, type TensorFormat } from '../entries/tensor-format.ts';
import type { Pixels } from '../golden.ts';
import { type OnnxModel, readModel, UnreadableModel, writeModel } from '../onnx/model-file.ts';
import { withRecentOpset } from '../onnx/opset.ts';
import { type Comparison, compare } from './comparison.ts';
import { withEnlargingFolded } from './integer/enlarging.ts';
import { equalised } from './integer/equalise.ts';
import { FloatLayers } from './integer/float-layers.ts';
import {
  byteSampleOf,
  gainOf,
  type Observed,
  observe,
  sampleOf,
  signalToNoise,
  valuesToWatch,
  watched,
  watchedBytes,
} from './integer/observation.ts';
import type { Widths } from './integer/pixel-rows.ts';
import { type IntegerModel, toIntegers } from './integer/rewrite.ts';
import { pixelsInside } from './pixels-inside.ts';
import { startTrial, type Trial } from './trial.ts';

/** What is to be optimised. */
export interface Task {
  readonly file: Uint8Array;
  readonly format: TensorFormat;
  /** Of any picture that it will draw: a multiple of `multiple`, at least `least`. */
  readonly widths: Widths;
  /** Pictures of one size that the model takes; the ranges of its values are learnt from these. */
  readonly calibration: readonly Pixels[];
  /** Pictures that both graphs are compared on; best ones that calibration did not see. */
  readonly proof: readonly Pixels[];
  /** The worst PSNR of a picture that is accepted, in dB. */
  readonly leastPsnr: number;
  /** How many times as fast the variant has to be; no layer stays a float at the price of this. */
  readonly leastRatio: number;
  /** Hears what is going on. */
  readonly say: (sentence: string) => void;
}

/** A layer's result as bytes against itself as floats. */
export interface LayerReport {
  readonly name: string;
  readonly channels: number;
  /** Signal to noise of its result, with the noise of all layers before it, in dB; undefined where it stayed floats. */
  readonly db: number | undefined;
}

/** A variant that was proven. */
export interface Optimized {
  readonly file: Uint8Array;
  readonly pictures: readonly Comparison[];
  readonly layers: readonly LayerReport[];
  /** CPU time of the original by that of the variant, from pixels to pixels, on this CPU. */
  readonly ratio: number;
  readonly cpuMs: { readonly before: number; readonly after: number };
}

const TIMED_ROUNDS = 3;
/** What rewrites that change no arithmetic have to reach, in dB; a value halfway between two bytes may round either way. */
const EXACT_PSNR = 60;

/**
 * Rewrites a model to bytes and proves it.
 * @throws {ModelFault} when it cannot be rewritten, or does not reach the quality that was asked for.
 */
export async function optimizeToIntegers(task: Task): Promise<Optimized> {
  const given = understand(task.file);
  task.say(`observing ${task.calibration.length} photos …`);
  const before = await observeAll(given, task);
  const equal = equalised(given, before.observed);
  const model = withEnlargingFolded(equal);
  const seen = model === given ? before : await observeAll(model, task);
  const original = await startTrial(task.file, task.format);
  const widths = { ...task.widths, shown: task.calibration[0]?.width ?? task.widths.least };
  const make = (keepFloat: ReadonlySet<string>) =>
    rewrite(model, { format: task.format, observed: seen.observed, keepFloat, widths });
  const start = (rewritten: IntegerModel) => startTrial(writeModel(rewritten.model), PIXEL_FORMAT);
  const floats = new FloatLayers(original, async (kept) => start(make(kept)), task);
  try {
    for (;;) {
      const rewritten = make(floats.kept);
      const file = writeModel(rewritten.model);
      const variant = await startTrial(file, PIXEL_FORMAT);
      try {
        const pictures = await compare(original, variant, task.proof);
        const layers = await layerReports(rewritten, floats.kept, seen, task);
        const timed = await time(original, variant, task.proof);
        const worst = Math.min(...pictures.map((each) => each.psnr));
        if (worst >= task.leastPsnr) return { file, pictures, layers, ...timed };
        task.say(
          `${worst.toFixed(1)} dB at worst, wanted are ${task.leastPsnr}; ${timed.ratio.toFixed(2)} times as fast`,
        );
        await floats.change(variant, rewritten.convolutions, { worst, ratio: timed.ratio });
      } finally {
        await variant.close();
      }
    }
  } finally {
    await original.close();
  }
}

/**
 * Takes the pixels into the graph, all else being the same, and proves it.
 * @throws {ModelFault} when it cannot be rewritten, or draws something else.
 */
export async function optimizeFloats(task: Task): Promise<Optimized> {
  const file = writeModel(rewriteOrFault(() => pixelsInside(understand(task.file), task.format)));
  const original = await startTrial(task.file, task.format);
  const variant = await startTrial(file, PIXEL_FORMAT);
  try {
    const pictures = await compare(original, variant, task.proof);
    const worst = Math.min(...pictures.map((each) => each.psnr));
    if (worst < EXACT_PSNR) throw new ModelFault(`it draws something else: ${worst.toFixed(1)} dB`);
    return { file, pictures, layers: [], ...(await time(original, variant, task.proof)) };
  } finally {
    await variant.close();
    await original.close();
  }
}

function understand(file: Uint8Array): OnnxModel {
  return rewriteOrFault(() => withRecentOpset(readModel(file)));
}

function rewrite(model: OnnxModel, plan: Parameters<typeof toIntegers>[1]): IntegerModel {
  const rewritten = rewriteOrFault(() => toIntegers(model, plan));
  if (rewritten.convolutions.length > 0) return rewritten;
  throw new ModelFault('it has no convolution that could work on bytes');
}

function rewriteOrFault<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof UnreadableModel)
      throw new ModelFault(`it cannot be rewritten: ${error.message}`, { cause: error });
    throw error;
  }
}

interface Seen {
  readonly observed: ReadonlyMap<string, Observed>;
  /** Every value's sample for the first photo. */
  readonly first: ReadonlyMap<string, Float32Array>;
}

async function observeAll(model: OnnxModel, task: Task): Promise<Seen> {
  const names = valuesToWatch(model);
  const trial = await startTrial(writeModel(watched(model, names)), task.format);
  const observed = new Map<string, Observed>();
  const first = new Map<string, Float32Array>();
  try {
    for (const picture of task.calibration) {
      const result = await trial.run(picture);
      observe(observed, result, names);
      if (first.size > 0) continue;
      for (const name of names) first.set(name, sampleOf(result, name) ?? new Float32Array());
    }
  } finally {
    await trial.close();
  }
  return { observed, first };
}

async function layerReports(
  { model, bytes, convolutions, results }: IntegerModel,
  keepFloat: ReadonlySet<string>,
  { observed, first }: Seen,
  task: Task,
): Promise<LayerReport[]> {
  const values = convolutions.flatMap((name) => {
    const result = results.get(name) ?? '';
    const value = bytes.get(result);
    return value ? [{ name, result, value }] : [];
  });
  const names = new Set(values.map(({ value }) => value.name));
  const gains = new Set(values.flatMap(({ value }) => value.gain ?? []));
  const trial = await startTrial(writeModel(watchedBytes(model, [...names], [...gains])), PIXEL_FORMAT);
  try {
    const [picture] = task.calibration;
    if (!picture) return [];
    const run = await trial.run(picture);
    const reports = values.flatMap(({ name, result, value }): LayerReport[] => {
      const [data, exact] = [byteSampleOf(run, value.name), first.get(result)];
      const channels = observed.get(result)?.dims[0] ?? 1;
      if (!data || !exact) return [];
      const { zero } = value;
      const scale = value.scale * gainOf(run, value.gain);
      return [{ name, channels, db: signalToNoise({ data: exact, channels }, { data, scale, zero }) }];
    });
    const floats = [...keepFloat].map((name) => ({
      name,
      channels: observed.get(name)?.dims[0] ?? 1,
      db: undefined,
    }));
    return [...reports, ...floats];
  } finally {
    await trial.close();
  }
}

/** Both in turn, so that what else goes on meets both; the least of some rounds. */
async function time(
  original: Trial,
  variant: Trial,
  proof: readonly Pixels[],
): Promise<Pick<Optimized, 'ratio' | 'cpuMs'>> {
  const [picture] = proof;
  if (!picture) throw new ModelFault('there is no photo to measure with');
  let [before, after] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < TIMED_ROUNDS; round++) {
    before = Math.min(before, (await original.draw(picture)).cpuMs);
    after = Math.min(after, (await variant.draw(picture)).cpuMs);
  }
  return { ratio: before / after, cpuMs: { before, after } };
}
