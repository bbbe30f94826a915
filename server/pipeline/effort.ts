// Chooses how a picture is drawn by what it is worth: `full` and `fast` say it themselves; `auto` takes the largest size
// that can be ready in time, and only where none can, another style. Pure. Knows sizes and expectations; no clock.

import { autoSides, type Effort, fastSide, fullSide, type PictureSides } from '../../config/effort.ts';
import type { ImageRequest } from '../../config/image-request.ts';
import type { InstalledStyle } from '../model/styles.ts';
import type { Size } from './fit.ts';

/** What the choice is made from. */
export interface EffortOrder {
  readonly request: Pick<ImageRequest, 'effort' | 'maxSide'>;
  readonly picture: PictureSides;
  readonly style: InstalledStyle;
  /** What `auto` may draw instead when the wanted style cannot be ready in time; undefined: nothing. */
  readonly lighter: InstalledStyle | undefined;
  /** What is left of the client's patience, ms. */
  readonly leftMs: number;
}

/** How a picture is drawn. */
export interface Way {
  readonly style: InstalledStyle;
  /** The longest side of the answer, px. */
  readonly maxSide: number;
  /** For the answer's words. */
  readonly effort: Effort;
}

/** How long a style will probably take for a longest side, from its decoding to its last byte, ms. */
export type Expectation = (style: InstalledStyle, side: number) => number;

/** This part of what is left stays for the way back, and this much of it at least, ms. */
const RESERVE = 0.05;
const LEAST_RESERVE_MS = 10;

export function chooseWay(order: EffortOrder, expect: Expectation): Way {
  const { request, picture, style } = order;
  const full = fullSide(picture, request.maxSide);
  const at = (side: number, drawn = style): Way => ({
    style: drawn,
    // Not the full side itself: the picture's own size is only certain when it is decoded.
    maxSide: side === full ? request.maxSide : side,
    effort: {
      side: side === full ? undefined : side,
      style: drawn === style ? undefined : drawn.id,
    },
  });
  switch (request.effort) {
    case 'full':
      return at(full);
    case 'fast':
      return at(isOfOneSize(style) ? full : fastSide(full));
    case 'auto':
      return auto(order, full, at, expect);
  }
}

function auto(
  { style, lighter, leftMs }: EffortOrder,
  full: number,
  at: (side: number, style?: InstalledStyle) => Way,
  expect: Expectation,
): Way {
  const budgetMs = leftMs - Math.max(LEAST_RESERVE_MS, RESERVE * leftMs);
  let least = { side: full, style, ms: expect(style, full) };
  if (least.ms <= budgetMs) return at(full);
  for (const drawn of lighter && lighter !== style ? [style, lighter] : [style]) {
    for (const side of isOfOneSize(drawn) ? [full] : autoSides(full)) {
      const ms = expect(drawn, side);
      if (ms <= budgetMs) return at(side, drawn);
      // A model that enlarges what is small, say, gains nothing by a smaller answer.
      if (ms < least.ms) least = { side, style: drawn, ms };
    }
  }
  // By all that is known it comes late; what is known may be wrong, and the least may still be in time.
  return at(least.side, least.style);
}

/** Such a model draws all of its frame however small the answer is, so that a smaller one spares next to nothing. */
function isOfOneSize({ model }: InstalledStyle): boolean {
  const whole = model.kind === 'generator' ? model : model.background;
  return whole.fixed_size !== undefined;
}

/**
 * What was spared of a picture that is drawn. Not its size where the whole effort would have given the same, as of a photo
 * whose header did not tell how small it is.
 * @param whole The answer that nothing would have been spared on.
 */
export function spared(effort: Effort, drawn: Size, whole: Size): Effort {
  const side = Math.max(drawn.width, drawn.height);
  const isLess = side < Math.max(whole.width, whole.height) && side >= (effort.side ?? side);
  return isLess ? effort : { ...effort, side: undefined };
}
