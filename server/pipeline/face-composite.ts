// The middle of a composite's way, as a list that can be read: look for faces → draw the background → draw each face over
// it. Between the steps it looks at the clock. Knows no HTTP, no slots and no files; how faces are found, turned and
// blended stands in server/faces/.

import { alignment, TEMPLATES } from '../faces/alignment.ts';
import { chooseFaces } from '../faces/choice.ts';
import { type Face, scaledFaces } from '../faces/detection.ts';
import type { CropPlan } from '../faces/warp.ts';
import type { FaceComposite } from '../model/entries/installed.ts';
import type { Pixels } from '../model/golden.ts';
import { shownSize } from '../model/inference/detector.ts';
import type { Drawing, Inference } from '../model/inference/session.ts';
import { reduced } from './codec.ts';
import type { Size } from './fit.ts';
import type { SpareMemory } from './spare-memory.ts';

/** A drawing with what is told about it. */
export interface FaceDrawing extends Drawing {
  /** How many faces were drawn. */
  readonly faces: number;
}

/** What drawing faces needs of its picture's way. */
export interface FaceParts {
  readonly inference: Inference;
  readonly memory: SpareMemory;
  /** Called between steps; throws when nobody is served by going on. */
  readonly step: () => void;
}

/**
 * Draws a picture and its faces. Beside the picture itself one copy of it is held while faces are drawn, and one crop at
 * a time, however many faces there are.
 * @param photo Decoded pixels, which are taken away.
 * @param content The part of `photo` that is picture.
 */
export async function drawFaces(
  photo: Pixels,
  content: Size,
  composite: FaceComposite,
  { inference, memory, step }: FaceParts,
): Promise<FaceDrawing> {
  const { faces, ms } = await findFaces(photo, content, composite, inference);
  step();
  const original = faces.length === 0 ? undefined : copyOf(photo, memory);
  const background = await inference.run(composite.background, photo);
  let spent = ms + background.ms;
  const size = { stride: photo.width, ...content };
  let canvases = {
    photo: { data: original ?? background.data, ...size },
    drawing: { data: background.data, ...size },
  };
  for (const face of faces) {
    step();
    const work = { ...canvases, plan: planOf(face, composite), mask: composite.maskPixels };
    const { ms: faceMs, ...back } = await inference.drawFace(composite.face, work);
    canvases = back;
    spent += faceMs;
  }
  if (original) memory.giveBack(canvases.photo.data);
  return {
    data: canvases.drawing.data,
    width: photo.width,
    height: photo.height,
    ms: spent,
    faces: faces.length,
  };
}

/** The faces that are to be drawn, in px of the picture. */
async function findFaces(
  photo: Pixels,
  content: Size,
  { detector, max_faces: most, smallest_face: smallest }: FaceComposite,
  inference: Inference,
): Promise<{ faces: Face[]; ms: number }> {
  const shown = await reduced(photo, content, shownSize(content, detector));
  const { width, height } = shown;
  const { faces, ms } = await inference.detect(detector, shown);
  const found = scaledFaces(faces, content.width / width, content.height / height);
  return { faces: chooseFaces(found, content, { most, smallest }), ms };
}

function planOf({ landmarks }: Face, { align, crop: side, beyond, tone }: FaceComposite): CropPlan {
  const template = typeof align === 'string' ? TEMPLATES[align] : align;
  return { toCrop: alignment(landmarks, template, side), side, beyond, tone };
}

function copyOf({ data }: Pixels, memory: SpareMemory): Uint8Array<ArrayBuffer> {
  const copy = memory.lend(data.length);
  copy.set(data);
  return copy;
}
