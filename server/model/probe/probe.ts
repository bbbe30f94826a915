// Finds out what a model's file does not say, by running it: where the colours stand, which sizes it takes, which values mean
// black and full light. Blocks its thread while graphs run: for commands. Proposes; the operator's word stands above it.

import { InferenceSession } from 'onnxruntime-node';
import { ModelFault } from '../entries/fault.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture } from '../golden.ts';
import type { ModelIo } from '../inference/messages.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import type { RunResult } from '../optimize/integer/observation.ts';
import { trialOf } from '../optimize/trial.ts';
import { type Attempt, CANDIDATES, judgeRanges, type RangeVerdict } from './range-verdict.ts';

type Layout = TensorFormat['layout'];

/** What is known before anything is run; what is undefined is found out. */
export interface Known {
  readonly io: ModelIo;
  readonly layout: Layout | undefined;
  readonly channels: TensorFormat['channels'];
  readonly fixed: readonly [width: number, height: number] | undefined;
  readonly multiple: number | undefined;
  /** Whether the operator has named the range. */
  readonly rangeKnown: boolean;
}

/** What running the model showed. */
export interface Findings {
  readonly layout: Layout;
  readonly fixed: readonly [width: number, height: number] | undefined;
  readonly multiple: number;
  /** Undefined where the operator knows it. */
  readonly range: RangeVerdict | undefined;
  /** What was tried and how sure it is, sentence by sentence. */
  readonly said: readonly string[];
}

const MULTIPLES = [1, 2, 4, 8, 16, 32, 64] as const;
const FIXED_SIDES = [256, 512] as const;
/** A multiple of all that are tried. */
const TRIED_SIDE = 256;
const SEED = 3;

/**
 * Runs a model on a drawn photo in some sizes and ranges.
 * @throws {ModelFault} when it draws nothing at all, with what to say instead.
 */
export async function probe(file: Uint8Array, known: Known): Promise<Findings> {
  // A size that is refused is an answer here, and no error for the log.
  const options = { ...SESSION_OPTIONS, logSeverityLevel: 4 as const };
  const session = await InferenceSession.create(file, options);
  try {
    return await explore(session, known);
  } finally {
    await session.release();
  }
}

async function explore(session: InferenceSession, known: Known): Promise<Findings> {
  const said: string[] = [];
  const { io } = known;
  const shown = layoutOf(io);
  const layouts: readonly Layout[] = known.layout ? [known.layout] : shown ? [shown] : ['NHWC', 'NCHW'];
  for (const layout of layouts) {
    const draws = (width: number, height: number) => drawsSize(session, { io, layout, width, height });
    const fixed = known.fixed ?? fixedSizeOf(io, layout);
    const size = fixed ? { fixed, multiple: known.multiple ?? 1 } : await sizeRule(draws, known.multiple);
    if (!size) continue;
    // A size that the operator says was not tried, and of two layouts only one draws it.
    if (layouts.length > 1 && !(await draws(...triedSize(size)))) continue;
    if (!known.layout) said.push(`layout ${layout}: ${shown ? 'its shape shows it' : 'only so it draws'}`);
    if (!known.fixed) said.push(sentenceOf(size, known, fixed !== undefined));
    if (known.channels === 'RGB')
      said.push('colours are taken to be RGB, which no file shows; else --channels BGR');
    const range = known.rangeKnown ? undefined : await rangeOf(session, { ...known, ...size, layout });
    if (range) said.push(rangeSentence(range));
    return { layout, ...size, range, said };
  }
  throw new ModelFault(
    `it draws no picture in any size that was tried; say --fixed WxH, or --multiple and --layout (its input has the shape ${io.input.shape.join('×')})`,
  );
}

interface SizeRule {
  readonly fixed: readonly [number, number] | undefined;
  readonly multiple: number;
}

/** The least multiple that is drawn in its own size, sides unlike each other; else the one size that is. */
async function sizeRule(
  draws: (width: number, height: number) => Promise<boolean>,
  multiple: number | undefined,
): Promise<SizeRule | undefined> {
  if (multiple !== undefined) return { fixed: undefined, multiple };
  for (const each of MULTIPLES)
    if (await draws(TRIED_SIDE + 3 * each, TRIED_SIDE + each)) return { fixed: undefined, multiple: each };
  for (const side of FIXED_SIDES) if (await draws(side, side)) return { fixed: [side, side], multiple: 1 };
  return undefined;
}

/** A size that a rule allows, its sides unlike each other where they may be. */
function triedSize({ fixed, multiple }: SizeRule): readonly [width: number, height: number] {
  const side = Math.ceil(TRIED_SIDE / multiple) * multiple;
  return fixed ?? [side + multiple, side];
}

function sentenceOf({ fixed, multiple }: SizeRule, known: Known, declared: boolean): string {
  if (fixed)
    return declared
      ? `size ${fixed.join('×')} only: its shape shows it`
      : `size ${fixed.join('×')} only: it drew no other of those that were tried`;
  return known.multiple === undefined
    ? `any size in multiples of ${multiple}: it drew ${TRIED_SIDE + 3 * multiple}×${TRIED_SIDE + multiple}, and nothing finer`
    : `any size in multiples of ${multiple}, as you say`;
}

function rangeSentence(verdict: RangeVerdict): string {
  switch (verdict.kind) {
    case 'sure':
      return `values from ${verdict.reading.input.join(' to ')} in and ${verdict.reading.output.join(' to ')} out: sure, the drawing is ${verdict.reading.distance.toFixed(2)} from the photo, with the next best ranges ${verdict.next.distance.toFixed(2)}`;
    case 'unsure':
      return `the range of values is not sure: ${verdict.why}`;
  }
}

type Values = TensorFormat['input'];
const FLOATS: Values = { type: 'float32', range: [0, 1] };
const BYTES: Values = { type: 'uint8', range: [0, 255] };

/** Whether a picture of a size is drawn, in that size. */
async function drawsSize(
  session: InferenceSession,
  { io, layout, width, height }: { io: ModelIo; layout: Layout; width: number; height: number },
): Promise<boolean> {
  const input = io.input.type === 'uint8' ? BYTES : FLOATS;
  const result = await drawn(session, { layout, channels: 'RGB', input, output: FLOATS }, width, height);
  const dims = result?.dims.slice(-3);
  const wanted = layout === 'NHWC' ? [height, width, 3] : [3, height, width];
  return dims?.every((dim, at) => dim === wanted[at]) ?? false;
}

/** The first output; undefined when the graph refuses the picture. */
async function drawn(
  session: InferenceSession,
  format: TensorFormat,
  width: number,
  height: number,
): Promise<RunResult[string] | undefined> {
  const picture = { data: drawPicture(width, height, SEED), width, height };
  try {
    const result = await trialOf(session, format).run(picture);
    return result[session.outputNames[0] ?? ''];
  } catch (error) {
    if (error instanceof ModelFault) return undefined;
    throw error;
  }
}

async function rangeOf(
  session: InferenceSession,
  { io, layout, channels, fixed, multiple }: Known & SizeRule & { layout: Layout },
): Promise<RangeVerdict | undefined> {
  if (io.input.type === 'uint8') return undefined;
  const side = Math.ceil(TRIED_SIDE / multiple) * multiple;
  const [width, height] = fixed ?? [side, side];
  const attempts: Attempt[] = [];
  for (const candidate of CANDIDATES) {
    const input: Values = { type: 'float32', range: [...candidate] };
    const result = await drawn(session, { layout, channels, input, output: FLOATS }, width, height);
    const values = result?.data;
    if (!(values instanceof Float32Array || values instanceof Uint8Array)) continue;
    attempts.push({ input: candidate, values: rgbOf(values, { layout, channels }) });
  }
  return judgeRanges({ data: drawPicture(width, height, SEED), width, height }, attempts);
}

/** Values in the order of pixels, as they are. */
function rgbOf<T extends Float32Array | Uint8Array>(
  values: T,
  { layout, channels }: Pick<TensorFormat, 'layout' | 'channels'>,
): T {
  if (layout === 'NHWC' && channels === 'RGB') return values;
  const plane = values.length / 3;
  const [red, blue] = channels === 'RGB' ? [0, 2] : [2, 0];
  const order = [red, 1, blue];
  const at = (pixel: number, channel: number) =>
    layout === 'NHWC' ? pixel * 3 + channel : channel * plane + pixel;
  return values.map((_, index) => values[at(Math.floor(index / 3), order[index % 3] ?? 0)] ?? 0) as T;
}

/** Where three colours stand in a shape; undefined where it does not show. */
export function layoutOf({ input }: ModelIo): Layout | undefined {
  const shape = input.shape.slice(-3);
  if (shape.length === 3 && shape[2] === 3 && shape[0] !== 3) return 'NHWC';
  if (shape.length === 3 && shape[0] === 3 && shape[2] !== 3) return 'NCHW';
  return undefined;
}

function fixedSizeOf({ input }: ModelIo, layout: Layout): [number, number] | undefined {
  const shape = input.shape.slice(-3);
  const [height, width] = layout === 'NHWC' ? [shape[0], shape[1]] : [shape[1], shape[2]];
  return typeof width === 'number' && typeof height === 'number' && width > 0 && height > 0
    ? [width, height]
    : undefined;
}
