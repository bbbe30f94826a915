// Chooses the sizes of one picture's way: how large it is drawn, what the model is fed, and what the answer measures.
// Pure. Knows numbers only; neither sharp nor ONNX Runtime.

import type { Padding } from '../model/entries/model-entry.ts';

/** Width and height, px. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What a model demands of the size of its input. */
export interface SizeRule {
  /** Both sides are multiples of it. */
  readonly multiple: number;
  /** Below it the model draws badly; smaller pictures are enlarged for the model and the answer reduced again. */
  readonly minSide: number;
  /** The longest that the shorter side may be for the model; what is drawn smaller is enlarged again. */
  readonly maxShortSide?: number | undefined;
  /** What stands beside the picture; its edge when nothing is said. See `padding` of the manifest. */
  readonly padding?: Padding | undefined;
  /** The only size that the model takes, if it takes one only. */
  readonly fixed?: Size | undefined;
}

/** The sizes of one picture. `content` lies in the top left corner of `padded`; what is beside it repeats its edge, or is white. */
export interface Fit {
  /** The picture as the model draws it. */
  readonly content: Size;
  /** What the model is fed. */
  readonly padded: Size;
  /** The answer. */
  readonly answer: Size;
  /** What stands in `padded` beside `content`; its edge when nothing is said. */
  readonly beside?: 'white';
}

/**
 * Fits a picture to a model and to what was asked.
 *
 * The answer is never larger than the picture, nor longer than `maxSide`, nor larger than a fixed model draws. A picture
 * that is too narrow to be enlarged to `minSide` within `maxSide`² pixels is enlarged as far as that allows and padded
 * for the rest, so that a 1000×16 strip does not cost sixty pictures.
 * @param picture The picture after any EXIF turn.
 * @param maxSide The longest side that the answer may have, px.
 */
export function fit(picture: Size, maxSide: number, rule: SizeRule): Fit {
  if (rule.fixed) return { ...fitFixed(picture, maxSide, rule.fixed), ...besideOf(rule) };
  const answer = scale(picture, Math.min(1, maxSide / longest(picture)));
  const wanted = Math.max(1, rule.minSide / shortest(answer));
  const area = Math.max(maxSide, rule.minSide) ** 2;
  const affordable = Math.max(1, Math.sqrt(area / (answer.width * answer.height)));
  const bearable = (rule.maxShortSide ?? Number.POSITIVE_INFINITY) / shortest(answer);
  const content = scale(answer, Math.min(wanted, affordable, bearable));
  return { content, padded: pad(content, rule), answer, ...besideOf(rule) };
}

/** Up to the model's multiple, and to its least side where the picture could not be enlarged so far. */
function pad({ width, height }: Size, { minSide, multiple, padding }: SizeRule): Size {
  const least = { width: Math.max(width, minSide), height: Math.max(height, minSide) };
  const padded = { width: ceilTo(least.width, multiple), height: ceilTo(least.height, multiple) };
  if (padding !== 'dct-net' || (padded.width === width && padded.height === height)) return padded;
  // As DCT-Net was fed: where one side needs padding, the other gets a whole multiple more if it needs none.
  return {
    width: padded.width === width ? width + multiple : padded.width,
    height: padded.height === height ? height + multiple : padded.height,
  };
}

const besideOf = ({ padding = 'edge' }: SizeRule) => (padding === 'edge' ? {} : { beside: 'white' as const });

/** The whole of a fixed frame is used, since the model draws it anyway; what that enlarged is reduced again. */
function fitFixed(picture: Size, maxSide: number, fixed: Size): Omit<Fit, 'beside'> {
  const inside = Math.min(fixed.width / picture.width, fixed.height / picture.height);
  const content = scale(picture, inside, fixed);
  const answer = scale(picture, Math.min(1, inside, maxSide / longest(picture)), content);
  return { content, padded: fixed, answer };
}

function scale({ width, height }: Size, factor: number, bound?: Size): Size {
  const side = (px: number, most = Number.POSITIVE_INFINITY) =>
    Math.min(most, Math.max(1, Math.round(px * factor)));
  return { width: side(width, bound?.width), height: side(height, bound?.height) };
}

const longest = ({ width, height }: Size) => Math.max(width, height);
const shortest = ({ width, height }: Size) => Math.min(width, height);
const ceilTo = (px: number, multiple: number) => Math.ceil(px / multiple) * multiple;
