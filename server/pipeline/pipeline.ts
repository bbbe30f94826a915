// One picture's way, as a list that can be read: decode → stylize → encode. Between the steps it looks at the clock and
// at the client. Knows no HTTP and no slots; the caller holds the slot and is told when drawing no longer needs it.

import type { Timings } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { InstalledModel, StyleModel } from '../model/entries/installed.ts';
import type { Inference } from '../model/inference/session.ts';
import { decode, type Encoding, encode, openPicture } from './codec.ts';
import { drawFaces } from './face-composite.ts';
import { type Fit, fit, type Size } from './fit.ts';
import type { SpareMemory } from './spare-memory.ts';

/** What is to be drawn. */
export interface DrawOrder {
  readonly picture: Uint8Array;
  readonly model: StyleModel;
  /** Whether a composite looks for faces; else it draws its background alone. */
  readonly faces: boolean;
  /** The longest side of the answer, px. */
  readonly maxSide: number;
  readonly encoding: Encoding;
}

/** Who waits for it, and until when. */
export interface DrawContext {
  /** When the answer is worth nothing any more, on the clock of `now`. */
  readonly deadline: number;
  readonly now: () => number;
  /** True when nobody waits any more. */
  readonly gone: () => boolean;
  /** Called once when inference is done and the slot may go to the next picture, also when it came too late. */
  readonly drawn: (inferred: Inferred) => void;
}

/** How many pixels the model was fed, and how long it took over them. */
export interface Inferred {
  readonly pixels: number;
  readonly ms: number;
}

/** A drawn picture. */
export interface Drawn extends Size {
  readonly bytes: Buffer;
  readonly timings: Timings;
  /** How many faces were drawn by themselves; undefined where nobody looked for any. */
  readonly faces: number | undefined;
}

/** What drawing needs of its worker. */
export interface DrawParts {
  readonly inference: Inference;
  readonly maxPixels: number;
  readonly memory: SpareMemory;
}

/**
 * Draws one picture.
 * @throws {ToonError} for a bad picture, a deadline that passed (`deadline_exceeded`) or a client that left.
 */
export async function draw(
  order: DrawOrder,
  context: DrawContext,
  { inference, maxPixels, memory }: DrawParts,
): Promise<Drawn> {
  const { model } = order;
  const clock = stopwatch(context);

  const picture = await openPicture(order.picture, maxPixels);
  const whole = wholeOf(model);
  const plan = fit(picture, order.maxSide, ruleOf(whole));
  const pixels = await decode(picture, plan, maxPixels, memory);
  const decodeMs = clock.lap();

  const drawing =
    model.kind === 'face-composite' && order.faces
      ? await drawFaces(pixels, plan.content, model, { inference, memory, step: clock.check })
      : { ...(await inference.run(whole, pixels)), faces: undefined };
  context.drawn({ pixels: area(plan), ms: drawing.ms });
  const inferMs = clock.lap();

  const bytes = await encode(drawing, plan, order.encoding);
  memory.giveBack(drawing.data);
  const encodeMs = clock.lap();

  return {
    bytes,
    ...plan.answer,
    timings: { decode: decodeMs, infer: inferMs, encode: encodeMs },
    faces: drawing.faces,
  };
}

/** Measures the steps, and stops a picture between two of them when nobody is served by going on. */
function stopwatch({ now, deadline, gone }: DrawContext): { lap(): number; check(): void } {
  let last = now();
  const check = (at = now()) => {
    if (gone()) throw new ToonError('client_gone');
    if (at >= deadline) throw new ToonError('deadline_exceeded');
  };
  return {
    check: () => check(),
    lap() {
      const at = now();
      check(at);
      const ms = at - last;
      last = at;
      return ms;
    },
  };
}

/** What draws the whole picture of a style: its model, or a composite's background. */
export function wholeOf(model: StyleModel): InstalledModel {
  return model.kind === 'generator' ? model : model.background;
}

/** What a model's manifest entry demands of sizes. */
export function ruleOf(
  model: Pick<InstalledModel, 'size_multiple' | 'min_side' | 'fixed_size' | 'max_short_side' | 'padding'>,
) {
  const [width, height] = model.fixed_size ?? [];
  return {
    multiple: model.size_multiple,
    minSide: model.min_side,
    maxShortSide: model.max_short_side,
    padding: model.padding,
    fixed: width === undefined || height === undefined ? undefined : { width, height },
  };
}

const area = ({ padded }: Fit) => padded.width * padded.height;
