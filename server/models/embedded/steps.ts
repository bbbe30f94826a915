// The steps a photo goes through on its way to a drawing: flatten, expose, cel, ink, grade.
// Lengths are pixels of the picture as it comes; tones run from 0 to 1. Which style uses what is for looks.ts to say.

import { box, type Graph, mix, type Planes, padEdge, peak, scaleUp, shrink } from './graph.ts';

/** Red, green and blue: factors, or amounts to add. */
export type Colour = readonly [red: number, green: number, blue: number];

/** The colours a grade mixes. */
export type Palette = {
  /** Multiplies black's neighbours; anime painters mix shadows with blue and violet instead of black. */
  readonly shadow: Colour;
  /** Multiplies white's neighbours; in between, the tint runs straight from shadow to highlight. */
  readonly highlight: Colour;
  /** Added to black, gone at middle grey: the darkest paint in the box. */
  readonly ground: Colour;
  /** How much more colour a grey-ish pixel gets, 0 to 1. The fuller its colour, the less it gets. */
  readonly vivid: number;
  /** What bright places spill over their surroundings, 0 to 1. */
  readonly glow: Colour;
};

/** Rec. 601 luma of gamma-coded RGB. */
export function lumaOf(rgb: Planes): Planes {
  return mix(rgb, [0.299, 0.587, 0.114]);
}

/** The sum of the channels' squares, in one plane. */
function energyOf(rgb: Planes): Planes {
  return mix(rgb.times(rgb), [1, 1, 1]);
}

/** A photo as a painter blocks it in: `flat` has its colours, `outline` the luma that lines are looked for in. */
export type Flattened = { readonly flat: Planes; readonly outline: Planes };

/** Takes away grain and texture, keeps edges, and gives back the details that carry a face. */
export function flatten(photo: Planes): Flattened {
  // Grain goes first, or the wider windows would hold on to it. The widest work at half size: a quarter of the
  // time, and the linear way back up rounds off the squares that box windows leave.
  const plain = calm(calm(photo, 1, 0.01), 2, 0.006);
  const broad = scaleUp(calm(calm(shrink(plain, 2), 2, 0.002), 2, 0.001), 2, photo);

  // Detail comes back whole, from the photo: eyes in a group are four pixels wide and bear no smoothing. It is
  // weighed against the light it stands in, as the eye does; 0.2 keeps sensor noise out of the dark.
  const detail = photo.minus(broad);
  const relative = detail.over(lumaOf(broad).plus(0.2));
  const flat = broad.plus(detail.times(standsOut(energyOf(relative), 0.018, 0.7)));

  // Outlines follow the plain picture, with finer features (eyes, lips, cables) only where they stand alone.
  // The last 3×3 mean takes the pixel stairs off the edges that `calm` cuts.
  const feature = lumaOf(photo.minus(plain));
  const featured = lumaOf(plain).plus(feature.times(standsOut(feature.times(feature), 0.0006, 0.8)));
  return { flat, outline: box(featured, 1) };
}

/**
 * Every window votes for its mean, the louder the evener it is, and a pixel takes the votes of all windows that hold
 * it. Windows across an edge hardly vote, so edges stay sharp: a Kuwahara filter made of box means alone.
 * `unevenness` is the variance (summed over the channels) that costs a window three quarters of its vote.
 */
function calm(rgb: Planes, radius: number, unevenness: number): Planes {
  const mean = box(rgb, radius);
  const variance = box(energyOf(rgb), radius).minus(energyOf(mean)).atLeast(0);
  const evenness = variance
    .times(1 / unevenness)
    .plus(1)
    .apply('Reciprocal');
  // Squared; from the fourth power on, the gentle shading of a face breaks into patches.
  const vote = evenness.times(evenness);
  return box(mean.times(vote), radius).over(box(vote, radius));
}

/**
 * From 0 for noise, and for one leaf among a thousand, up to 1 for a detail alone on plain ground: an eye, a button.
 * `noise` is the energy that counts half; `crowding` is how much the neighbourhood's energy counts against it.
 */
function standsOut(energy: Planes, noise: number, crowding: number): Planes {
  const here = box(energy, 1);
  return here.over(around(here).times(crowding).plus(here).plus(noise));
}

/** The mean over a neighbourhood of about 35 pixels, a face in a group photo; smooth, since it is worked out small. */
function around(planes: Planes): Planes {
  return scaleUp(box(box(shrink(planes, 4), 2), 2), 4, planes);
}

/**
 * Perceived lightness, the square root of luma, under an exposure that suits the picture: dark photos are lifted, bright
 * ones left. `exposure` below 1 brightens further, above 1 darkens.
 */
export function expose(flat: Planes, exposure: number): Planes {
  // A quarter of one step of 255 keeps the division by luma in `relight` finite.
  const luma = lumaOf(flat).clip(0.001, 1);
  const mean = luma.graph.node('ReduceMean', [luma], { axes: { ints: [2, 3] } });
  // A photo of mean luma 0.32 or less gets gamma 0.74 (a night stays a night), one of 0.67 or more 0.95.
  const gamma = mean.times(0.6).plus(0.55).clip(0.74, 0.95);
  return luma.graph.node('Pow', [luma, gamma.times(exposure / 2)]);
}

/** The same colours in another light. */
export function relight(flat: Planes, light: Planes): Planes {
  return flat.times(light.times(light).over(lumaOf(flat).clip(0.001, 1)));
}

/** How lightness falls into tones. */
export type Cel = {
  readonly tones: number;
  /** From 1, hardly a step, to 8, a cut with only its edge softened. */
  readonly sharpness: number;
  /** How much of the step to take, 0 to 1; the rest stays a gradient. */
  readonly share: number;
};

/** Cel shading: soft steps of lightness, in lively places only. */
export function cel(light: Planes, { tones, sharpness, share }: Cel): Planes {
  const scaled = light.times(tones);
  const floor = scaled.apply('Floor');
  const rise = scaled.minus(floor).minus(0.5).times(sharpness).apply('Tanh');
  const stepped = floor
    .plus(0.5)
    .plus(rise.times(0.5 / Math.tanh(sharpness / 2)))
    .times(1 / tones);
  return light.plus(stepped.minus(light).times(liveliness(light)).times(share));
}

/** Near 0 where light hardly changes over 70 pixels: a step across a sky or a wall would be a lone contour. */
function liveliness(light: Planes): Planes {
  const small = shrink(light, 4);
  const mean = box(small, 1);
  // Capped, or one strong edge (a rocket in the night) would make the sky around it lively.
  const variance = box(small.times(small), 1).minus(mean.times(mean)).clip(0, 0.003);
  const wide = box(box(variance, 4), 4);
  // Half at a standard deviation of 0.022 over 12 pixels.
  return scaleUp(wide.over(wide.plus(0.0005)), 4, light);
}

/** Colours of the shaded picture, tinted by its light. */
export function grade(shaded: Planes, light: Planes, palette: Palette): Planes {
  const { shadow, highlight, ground, vivid, glow } = palette;
  const grey = lumaOf(shaded);
  const colour = shaded.minus(grey);
  const fullness = energyOf(colour).apply('Sqrt');
  // Below 1 for the fullest colours, which an exposure lifted together with their light: vivid, not neon.
  const boost = fullness
    .times(-2 * vivid)
    .plus(1 + vivid)
    .atLeast(0.88);

  const slope = shadow.map((each, channel) => (highlight[channel] ?? each) - each);
  const dark = light.times(-2).plus(1).apply('Relu');
  const tinted = grey
    .plus(colour.times(boost))
    .times(light.times(slope).plus(shadow))
    .plus(dark.times(dark).times(ground))
    .clip(0, 1);

  // A neighbourhood that is bright throughout (lightness 1 everywhere) glows in full; screened, so nothing burns out.
  const bright = around(light.minus(0.8).apply('Relu')).times(5).atMost(1);
  return tinted.plus(tinted.times(-1).plus(1).times(bright.times(glow)));
}

/** Multiplies a picture: 1 where the paper shows, down to 1 − `blackness` on a line. */
export function ink(outline: Planes, blackness: number): Planes {
  const { graph } = outline;
  // In the logarithm an edge weighs the same in sun and shade; 0.06 ends that where noise begins.
  const log = outline.plus(0.06).apply('Log');
  const found = graph.node('Conv', [padEdge(log, line.radius), lineFilters(graph)]).apply('Relu');
  const equal = graph.tensor(
    [1, line.directions, 1, 1],
    Array<number>(line.directions).fill(2 / line.directions),
  );
  const response = graph.node('Conv', [found, equal]);

  // A line is present where it beats a threshold that rises with the crowd around it: hair and leaves get few.
  const crest = peak(response, 2);
  const presence = crest.minus(around(response).times(0.6).plus(0.045)).times(9).clip(0, blackness);
  // And it is as wide as the top of its own profile, so strong edges get no thicker lines than weak ones.
  const width = response.over(crest.plus(0.01)).minus(0.4).times(3).clip(0, 1);
  return presence.times(width).times(-1).plus(1);
}

/** Thin strokes: one pixel across, five long; 16 directions fill one vector register of an AVX-512 convolution. */
const line = { directions: 16, radius: 4, across: 1, along: 2.2, dots: 0.5 } as const;

/**
 * Matched filters for dark strokes, one a direction: across the stroke the second derivative of a Gaussian, along it a
 * Gaussian. Each sums to 0 (plain areas answer nothing) and is scaled to answer a stroke by its depth. Half of what
 * they have in common is taken away, because that part answers dots: speckle of leaves and gravel, not lines.
 */
function lineFilters(graph: Graph): Planes {
  const side = 2 * line.radius + 1;
  const strokes = Array.from({ length: line.directions }, (_, k) => stroke((Math.PI * k) / line.directions));
  const dot = Array.from(
    { length: side * side },
    (_, at) => strokes.reduce((sum, each) => sum + (each[at] ?? 0), 0) / line.directions,
  );
  const filters = strokes.flatMap((each) => each.map((value, at) => value - line.dots * (dot[at] ?? 0)));
  return graph.tensor([line.directions, 1, side, side], filters);
}

function stroke(angle: number): number[] {
  const values: number[] = [];
  for (let y = -line.radius; y <= line.radius; y++) {
    for (let x = -line.radius; x <= line.radius; x++) {
      const along = (x * Math.cos(angle) + y * Math.sin(angle)) / line.along;
      const across = (y * Math.cos(angle) - x * Math.sin(angle)) / line.across;
      values.push((across ** 2 - 1) * Math.exp(-(across ** 2 + along ** 2) / 2));
    }
  }
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const depth = values.reduce((sum, each) => sum + Math.abs(each - mean), 0) / 2;
  return values.map((each) => (each - mean) / depth);
}
