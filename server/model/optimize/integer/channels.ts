// What stands for each channel: repeated for pixels that stand in the place of channels, and added to bytes. Pure.

import { type Builder, MICROSOFT } from '../builder.ts';
import { levelsIn } from './byte-value.ts';
import type { Widths } from './pixel-rows.ts';
import type { Levels } from './quantization.ts';

/** One number a channel, several times over. */
export function timesOver(values: readonly number[], times: number): number[] {
  return Array.from({ length: times }, () => values).flat();
}

/** The same where the numbers are known at run time only, by name. */
export function joinedTimes(
  built: Builder,
  name: string,
  times: number,
  behind: readonly string[] = [],
): string {
  const parts = [...Array<string>(times).fill(name), ...behind];
  return parts.length === 1 ? name : built.node('Concat', parts, { axis: { int: 0 } });
}

/** ONNX Runtime adds a row of numbers in one go, and begins anew for each: longer ones cost less. */
const LONG_ENOUGH = 512;

/** Bytes [1, height, width, channels] with a number added to each channel. */
export interface ChannelSum {
  /** The name of these numbers, which are known at run time only. */
  readonly more: string;
  readonly channels: number;
  readonly widths: Widths;
  readonly before: Levels;
  readonly after: Levels;
}

/** Appends the sum and gives its name. */
export function addToChannels(
  built: Builder,
  name: string,
  { more, channels, widths, before, after }: ChannelSum,
): string {
  let pixels = 1;
  while (widths.multiple % (2 * pixels) === 0 && 2 * pixels * channels <= LONG_ENOUGH) pixels *= 2;
  const [numbers, scale, zero] = dynamicBytes(built, more);
  const added = joinedTimes(built, numbers, pixels);
  const regroup = (of: string, to: number) =>
    pixels === 1 ? of : built.node('Reshape', [of, built.ints([0, 0, -1, to])]);
  const sum = built.node(
    'QLinearAdd',
    [
      regroup(name, pixels * channels),
      ...levelsIn(built, before),
      added,
      scale,
      zero,
      ...levelsIn(built, after),
    ],
    {},
    MICROSOFT,
  );
  return regroup(sum, channels);
}

/** Bytes, scale and zero of a few numbers that are known at run time only. */
function dynamicBytes(built: Builder, name: string): [bytes: string, scale: string, zero: string] {
  const bytes = built.node('DynamicQuantizeLinear', [name]);
  const outputs: [string, string, string] = [bytes, `${bytes}_scale`, `${bytes}_zero`];
  const node = built.nodes.pop();
  if (node) built.nodes.push({ ...node, outputs });
  return outputs;
}
