// A picture that was understood: what is asked for, what it will cost, and its bytes when a worker has a slot for them.
// Judges bodies; takes no slot and speaks to no worker.

import { autoSides, fastSide, fullSide } from '../../config/effort.ts';
import { ToonError } from '../../config/errors.ts';
import { type ImageRequest, normaliseStyle, readImageRequest } from '../../config/image-request.ts';
import { checkPictureSize, type PictureKind, readPictureHeader } from '../../config/picture.ts';
import { sha256 } from '../cache/key.ts';
import { workMegapixels } from '../schedule/cost.ts';
import { bodyKindOf, parseForm } from './form.ts';
import type { Head } from './head.ts';
import type { JourneyParts, Trip } from './trip.ts';
import type { Body } from './upload.ts';

/** A picture that was understood, ready for a worker. */
export interface Drawing {
  readonly request: ImageRequest;
  /** The multipart field that held the picture. */
  readonly pictureField: string | undefined;
  /** Its bytes, and how to give back the memory that they take. */
  readonly picture: () => Promise<{ readonly picture: Buffer; readonly release: () => void }>;
  /** SHA-256 of its bytes, hex. */
  readonly photoDigest: () => string;
  readonly kind: PictureKind;
  readonly path: string;
  /** As {@link normaliseStyle} writes it; what costs are learnt and expected by. */
  readonly style: string | undefined;
  /** What a worker will draw, in megapixels; less where the answer's longest side is less, px. */
  readonly megapixels: (side?: number) => number;
  /** The side that a worker may go down to when time is short, px; undefined when it may not. */
  readonly leastSide: number | undefined;
}

/** Judges a whole body, so that what cannot be drawn costs no slot. */
export async function understand(
  { request }: Trip,
  head: Head,
  path: string,
  body: Body,
  { settings: { limits }, pool, budget }: JourneyParts,
): Promise<Drawing> {
  const parse = async () =>
    parseForm(path, bodyKindOf(path, request.headers['content-type']), await body.read(), limits.upload);
  const form = await parse();
  const imageRequest = readImageRequest(
    {
      path,
      query: new URLSearchParams(head.query),
      fields: form.fields,
      pictureField: form.pictureField,
      accept: request.headers.accept,
    },
    limits,
  );
  const { style } = imageRequest;
  if (style !== undefined && pool.cannotDraw(style)) {
    const names = pool.styles().map(({ id }) => id);
    throw new ToonError('unknown_style', {
      detail: `There is no style "${style.slice(0, 60)}"; there are: ${names.join(', ')}.`,
      extra: { styles: names },
    });
  }
  const header = readPictureHeader(form.picture);
  checkPictureSize(header, limits.pixels);
  const { effort, maxSide } = imageRequest;
  const full = fullSide(header, maxSide);
  const usual = effort === 'fast' ? fastSide(full) : maxSide;
  const drawing = {
    request: imageRequest,
    pictureField: form.pictureField,
    kind: header.kind,
    path,
    style: style && normaliseStyle(style),
    megapixels: (side = usual) => workMegapixels(header, side),
    leastSide: effort === 'auto' ? autoSides(full).at(-1) : undefined,
  };
  const { picture } = form;
  if (!body.spilled)
    return {
      ...drawing,
      photoDigest: () => sha256(picture),
      picture: async () => ({ picture, release() {} }),
    };
  // Nothing of it stays in memory: it is found again, the same way in the same bytes, when a worker has a slot for it.
  const digest = sha256(picture);
  return {
    ...drawing,
    photoDigest: () => digest,
    async picture() {
      budget.count(body.length);
      const release = () => budget.give(body.length);
      try {
        return { picture: (await parse()).picture, release };
      } catch (error) {
        release();
        throw error;
      }
    },
  };
}
