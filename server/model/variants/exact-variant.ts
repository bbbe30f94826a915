// A model's faster self: the same picture from a graph that is rewritten for this CPU. Made once, by `models add` or by the
// first worker that loads the model, kept under the model's digest, this runtime and this CPU, and taken only when it drew the
// same as the file itself and was faster. Runs in the inference thread. What fails here costs speed, never a picture.

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { z } from 'zod';
import { writeFileAtomically } from '../atomic-file.ts';
import { PIXEL_FORMAT, type TensorFormat } from '../entries/tensor-format.ts';
import { readModel, writeModel } from '../onnx/model-file.ts';
import { withRecentOpset } from '../onnx/opset.ts';
import { blockedRewrite, blockOf } from '../optimize/exact/blocked.ts';
import { exactRewrite } from '../optimize/exact/rewrite.ts';
import { psnr } from '../optimize/quality.ts';
import { trialOf } from '../optimize/trial.ts';
import { cpuClock } from './choices.ts';
import { cpuModel, runtimeVersion } from './runtime.ts';
import { inTurn } from './turn.ts';

/** Raised when a rewrite changes, so that what older ones made is made anew. */
const RECIPE = 8;
/** How alike two drawings must be to be the same to the last rounding, dB; half a step of 255 everywhere is 54. */
const LEAST_PSNR = 54;
/** What a variant must save to be worth a second file. */
const LEAST_GAIN = 1.03;

/** What a variant is made from. */
export interface Original {
  /** Opens the file as it is. It throws for what cannot be drawn with at all. */
  readonly open: () => Promise<InferenceSession>;
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly format: TensorFormat;
  /** Both sides of a picture are multiples of it. */
  readonly multiple: number;
  /** The side of the picture that is tried, px. */
  readonly side: number;
  /** Another shape to try, [width, height]; undefined for a model of one size. */
  readonly another?: readonly [number, number] | undefined;
}

/** What a worker draws with. */
export interface Chosen {
  readonly session: InferenceSession;
  /** Undefined for a file as it is, whose format comes with every request. */
  readonly format: TensorFormat | undefined;
  /** `f32`: the file as it is. `exact`: rewritten, the same to the last rounding. */
  readonly variant: 'f32' | 'exact';
  /** Why the file is served as it is; for the operator. */
  readonly why?: string;
}

const noteSchema = z.strictObject({
  variant: z.enum(['f32', 'exact']),
  /** The variant's file. */
  sha256: z.string(),
  why: z.string().optional(),
  /** Of the file as it is and of the variant, for one picture of `side`. */
  ms: z.tuple([z.number(), z.number()]),
  psnr: z.number(),
});
type Note = z.infer<typeof noteSchema>;

/**
 * The fastest of the original and its rewritten self that draws the same.
 * @param folder Where variants are kept.
 * @param now The clock that both are timed by, ms; by default CPU time, since a busy machine would tell of others.
 */
export async function chooseExact(
  original: Original,
  folder: string,
  options: InferenceSession.SessionOptions,
  now: () => number = cpuClock,
): Promise<Chosen> {
  const place = join(folder, `${original.sha256.slice(0, 16)}-${fingerprint()}`);
  const kept = () => takeKept(original, place, options);
  // All workers of a machine may start at once with a model that was copied here: one makes it, the others take that.
  return (
    (await kept()) ??
    (await inTurn(
      `${place}.lock`,
      async () => (await kept()) ?? (await tryToMake(original, place, options, now)),
    ))
  );
}

/** What came of it before; undefined when nobody knows, or the variant is damaged or gone. */
async function takeKept(
  original: Original,
  place: string,
  options: InferenceSession.SessionOptions,
): Promise<Chosen | undefined> {
  const note = await readNote(place);
  if (note?.variant === 'exact') return openKept(place, note, options);
  return note && asItIs(await original.open(), note.why ?? 'its variant was no faster');
}

const asItIs = (session: InferenceSession, why: string): Chosen => ({
  session,
  format: undefined,
  variant: 'f32',
  why,
});

async function tryToMake(
  original: Original,
  place: string,
  options: InferenceSession.SessionOptions,
  now: () => number,
): Promise<Chosen> {
  const session = await original.open();
  try {
    const made = await make({ ...original, session }, place, options, now);
    if (typeof made === 'string') return asItIs(session, made);
    await session.release();
    return made;
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : error;
    return asItIs(session, `no variant could be made: ${why}`);
  }
}

/** A variant from its file; undefined when that is damaged or gone, so that it is made anew. */
async function openKept(
  place: string,
  { sha256 }: Note,
  options: InferenceSession.SessionOptions,
): Promise<Chosen | undefined> {
  try {
    const bytes = await readFile(`${place}.onnx`);
    return digest(bytes) === sha256 ? exact(await open(bytes, options)) : undefined;
  } catch {
    return undefined;
  }
}

const exact = (session: InferenceSession) => ({ session, format: PIXEL_FORMAT, variant: 'exact' }) as const;

/** Only what is always right is done again to a graph that has been through everything. */
const open = (bytes: Uint8Array, options: InferenceSession.SessionOptions) =>
  InferenceSession.create(bytes, { ...options, graphOptimizationLevel: 'basic' });

/** Makes a variant, tries it beside the file as it is, and keeps what came of it; the sentence says why it is not taken. */
async function make(
  original: Original & { readonly session: InferenceSession },
  place: string,
  options: InferenceSession.SessionOptions,
  now: () => number,
): Promise<Chosen | string> {
  const bytes = await rewrite(original, options);
  const session = await open(bytes, options);
  let taken = false;
  try {
    const why = await tryAndKeep(original, { bytes, session }, place, now);
    taken = why === undefined;
    return why ?? exact(session);
  } finally {
    if (!taken) await session.release();
  }
}

/** Tries a variant beside the file as it is, and keeps what came of it; undefined when it is taken. */
async function tryAndKeep(
  original: Original & { readonly session: InferenceSession },
  { bytes, session }: { readonly bytes: Uint8Array; readonly session: InferenceSession },
  place: string,
  now: () => number,
): Promise<string | undefined> {
  const { format, side } = original;
  const before = await draw(original.session, format, side, now);
  const after = await draw(session, PIXEL_FORMAT, side, now);
  const alike = Math.min(likeness(before.pixels, after.pixels), await likenessInAnother(original, session));
  const ms: [number, number] = [before.ms, after.ms];
  const why =
    alike < LEAST_PSNR
      ? `its variant draws another picture (${alike.toFixed(0)} dB)`
      : before.ms < LEAST_GAIN * after.ms
        ? `its variant is no faster (${after.ms.toFixed(0)} ms instead of ${before.ms.toFixed(0)} ms)`
        : undefined;
  const note: Note = {
    variant: why === undefined ? 'exact' : 'f32',
    sha256: digest(bytes),
    ms,
    psnr: alike,
    ...(why === undefined ? {} : { why }),
  };
  await mkdir(dirname(place), { recursive: true });
  if (why === undefined) await writeFileAtomically(`${place}.onnx`, bytes);
  await writeFileAtomically(`${place}.json`, `${JSON.stringify(note)}\n`);
  return why;
}

/** Whether what holds for a square holds for another shape too, dB. */
async function likenessInAnother(
  { another, format, session }: Original & { readonly session: InferenceSession },
  variant: InferenceSession,
): Promise<number> {
  if (!another) return Number.POSITIVE_INFINITY;
  const [width, height] = another;
  const picture = { data: lively(width, height), width, height };
  const before = await trialOf(session, format).draw(picture);
  return likeness(before.data, (await trialOf(variant, PIXEL_FORMAT).draw(picture)).data);
}

const likeness = (one: Uint8Array, other: Uint8Array) => (one.length === other.length ? psnr(one, other) : 0);

/** Both stages; between them ONNX Runtime writes down what it made of the first one for this CPU. */
async function rewrite(original: Original, options: InferenceSession.SessionOptions): Promise<Uint8Array> {
  const portable = writeModel(
    exactRewrite(withRecentOpset(readModel(original.bytes)), original.format, original.multiple),
  );
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-variant-'));
  try {
    const optimizedModelFilePath = join(folder, 'model.onnx');
    const session = await InferenceSession.create(portable, { ...options, optimizedModelFilePath });
    await session.release();
    const written = readModel(await readFile(optimizedModelFilePath));
    const block = blockOf(written);
    return writeModel(block === undefined ? written : blockedRewrite(written, block));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One picture, drawn three times; the fastest counts, since a first run also takes its memory. */
async function draw(session: InferenceSession, format: TensorFormat, side: number, now: () => number) {
  const trial = trialOf(session, format);
  const picture = { data: lively(side, side), width: side, height: side };
  let ms = Number.POSITIVE_INFINITY;
  let pixels: Uint8Array = new Uint8Array();
  for (let round = 0; round < 3; round++) {
    const from = now();
    pixels = (await trial.draw(picture)).data;
    ms = Math.min(ms, now() - from);
  }
  return { pixels, ms };
}

/** A picture with slopes, edges and grain, so that every part of a network has something to do. */
function lively(width: number, height: number): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(width * height * 3);
  let grain = 1;
  for (let at = 0; at < pixels.length; at++) {
    const [x, y] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
    grain = (Math.imul(grain, 1_103_515_245) + 12_345) >>> 0;
    const edge = (x >> 5) % 2 === (y >> 5) % 2 ? 30 : -30;
    pixels[at] = 128 + 50 * Math.sin(x / 17 + (at % 3)) + 40 * Math.cos(y / 23) + edge * 0.9 + (grain >>> 28);
  }
  return pixels;
}

async function readNote(place: string): Promise<Note | undefined> {
  try {
    return noteSchema.parse(JSON.parse(await readFile(`${place}.json`, 'utf8')));
  } catch {
    // Not made yet, or cut by a crash: it is made anew.
    return undefined;
  }
}

/** What a variant was made for. */
function fingerprint(): string {
  const parts = [RECIPE, runtimeVersion(), cpuModel()];
  return digest(Buffer.from(JSON.stringify(parts))).slice(0, 8);
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
