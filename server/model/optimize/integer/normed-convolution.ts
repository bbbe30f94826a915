// A convolution and the norm behind it as one integer convolution, which gives normalised bytes at once: what the norm does to
// each channel of this picture is worked out from a thinned-out copy of the convolution. Pure.

import type { OnnxTensor } from '../../onnx/model-file.ts';
import type { Builder } from '../builder.ts';
import type { Norm } from '../norms.ts';
import { ladeAffine, momentsAffine } from './affine.ts';
import type { ByteValue } from './byte-value.ts';
import { addToChannels, joinedTimes, timesOver } from './channels.ts';
import { type Convolution, convolve, convolveAtOnce, convolveByRows } from './convolution.ts';
import { momentsOf, type Observed } from './observation.ts';
import type { AtOnce, Widths } from './pixel-rows.ts';
import { type ByteWeights, type Levels, levelsOf, quantizeWeights } from './quantization.ts';
import { type RangedAffine, thinningOf, withOwnRange } from './ranges.ts';

/** How far beyond what calibration saw a thinned-out value may go. */
const HEADROOM = 2;
/** How much wider the range is before a picture's own shift was added. */
const SLACK = 1.1;

/** A convolution of bytes with a norm behind it. */
export interface NormedConvolution {
  readonly value: ByteValue;
  /** As floats. */
  readonly weights: OnnxTensor;
  readonly bias: readonly number[];
  /** Where of so many rows and columns one is made. */
  readonly shape: (thin: number) => Pick<Convolution, 'strides' | 'pads' | 'group'>;
  readonly norm: Norm;
  /**
   * What was seen of the convolution's own result, of what the norm works on, and behind the norm. The first may be several sets
   * of the second's channels, which are pixels beside each other then.
   */
  readonly seen: { readonly own: Observed; readonly raw: Observed; readonly normed: Observed };
  /** Of the result. */
  readonly levels: Levels;
  /** Whether the result's range follows the picture. */
  readonly follows: boolean;
  /** Whether the norm's shift goes into the bias, or is added to the bytes. */
  readonly shiftInside: boolean;
  /** So many pixels of a row are made at once where the bias is constant. */
  readonly pixels: AtOnce;
  /** Of the convolution's own result. */
  readonly widths: Widths;
  readonly opset: number;
}

/** Appends it, and gives the result's name and gain. */
export function convolveNormed(built: Builder, conv: NormedConvolution): Pick<ByteValue, 'name' | 'gain'> {
  const quantized = quantize(conv);
  const { factor, shift, gain } = affineOf(built, conv, quantized);
  const affine = {
    factor: joinedTimes(built, factor, quantized.sets),
    shift: joinedTimes(built, shift, quantized.sets),
  };
  const name = conv.shiftInside
    ? withShiftInside(built, conv, quantized, affine)
    : withShiftBehind(built, conv, quantized, affine);
  return { name, gain };
}

interface Quantized extends ByteWeights {
  /** With what the picture's grey adds. */
  readonly bias: readonly number[];
  /** What one step of a sum stands for. */
  readonly units: readonly number[];
  /** So many sets of the norm's channels. */
  readonly sets: number;
}

function quantize({ value, weights, bias, seen }: NormedConvolution): Quantized {
  const bytes = quantizeWeights(weights);
  return {
    ...bytes,
    bias: bias.map((each, c) => each + value.rest * (bytes.sums[c] ?? 0)),
    units: bytes.scales.map((scale) => scale * value.scale),
    sets: bytes.scales.length / seen.raw.channels.length,
  };
}

/** What the norm does to this picture. */
function affineOf(
  built: Builder,
  { value, shape, norm, seen, follows, opset }: NormedConvolution,
  { weights, bias, units, sets }: Quantized,
): RangedAffine {
  // Each channel has its own range here: the scale of its weights decides how far its bytes reach.
  const steps = seen.raw.channels.map(({ peak }) => (HEADROOM * Math.max(peak, 1e-6)) / 127);
  // LADE works on all of these rows and columns, and no range depends on them.
  const thin = norm.kind === 'lade' ? thinningOf(seen.own, Number.POSITIVE_INFINITY) : thinningOf(seen.own);
  const thinned = convolve(built, {
    value: { ...value, scale: 1 },
    weights,
    scales: units.map((unit, c) => unit / (steps[c % steps.length] ?? 1)),
    bias: inUnits(bias, units),
    levels: { scale: 1, zero: 128 },
    ...shape(thin),
  });
  const bytes = sets === 1 ? thinned : built.node('Reshape', [thinned, built.ints([0, 0, -1, steps.length])]);
  const centred = built.node('Sub', [built.node('Cast', [bytes], { to: { int: 1 } }), built.float(128)]);
  const values = built.node('Mul', [centred, built.float(steps)]);
  const exact =
    norm.kind === 'lade'
      ? ladeAffine(built, norm, { values, opset })
      : momentsAffine(built, norm, { values, opset, gain: value.gain });
  return follows ? withOwnRange(built, exact, { bytes, steps }, { seen: seen.normed, opset }) : exact;
}

/** One rounding less. */
function withShiftInside(
  built: Builder,
  { value, shape, levels }: NormedConvolution,
  { weights, scales, bias, units }: Quantized,
  { factor, shift }: RangedAffine,
): string {
  const inSums = built.node('Div', [built.node('Div', [shift, factor]), built.float(units)]);
  const all = built.node('Add', [inSums, built.float(bias.map((each, c) => each / (units[c] ?? 1)))]);
  return convolveByRows(built, {
    value,
    weights,
    scales: built.node('Mul', [factor, built.float(scales)]),
    bias: built.node('Cast', [built.node('Round', [all])], { to: { int: 6 } }),
    levels,
    ...shape(1),
  });
}

/** The bias is the shift that calibration saw on average; what this picture's is more than that is added to the bytes. */
function withShiftBehind(
  built: Builder,
  { value, shape, seen, levels, pixels, widths }: NormedConvolution,
  { weights, scales, bias, units, sets }: Quantized,
  { factor, shift }: RangedAffine,
): string {
  const usual = timesOver(usualShift(seen.raw, seen.normed), sets);
  const wide = levelsOf(-levels.scale * levels.zero * SLACK, levels.scale * (255 - levels.zero) * SLACK);
  const normed = convolveAtOnce(
    built,
    {
      value,
      weights,
      scales: built.node('Mul', [factor, built.float(scales)]),
      bias: inUnits(
        bias.map((each, c) => each + (usual[c] ?? 0)),
        units,
      ),
      levels: wide,
      ...shape(1),
    },
    pixels,
  );
  const more = built.node('Sub', [shift, built.node('Mul', [factor, built.float(usual)])]);
  return addToChannels(built, normed, {
    more,
    channels: scales.length,
    widths,
    before: wide,
    after: levels,
  });
}

function inUnits(values: readonly number[], units: readonly number[]): number[] {
  return values.map((each, c) => Math.round(each / (units[c] ?? 1)));
}

/** How far a norm shifted each channel of a convolution's result, before its factor, in the pictures that were shown. */
function usualShift(raw: Observed, normed: Observed): number[] {
  return raw.channels.map((channel, c) => {
    const after = normed.channels[c];
    const [from, to] = [momentsOf(channel), after && momentsOf(after)];
    return to && to.deviation > 1e-6 ? (to.mean * from.deviation) / to.deviation - from.mean : -from.mean;
  });
}
