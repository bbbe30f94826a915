// What bytes of a rewritten graph stand for, and their steps as inputs of integer operators. Pure.

import type { Builder } from '../builder.ts';
import type { Levels } from './quantization.ts';

/** A picture-like value as bytes [1, height, width, channels]. */
export interface ByteValue extends Levels {
  readonly name: string;
  /** Where the float model keeps the channels. */
  readonly order: 'NHWC' | 'NCHW';
  /** What has to be added to scale · (byte − zero); only the picture itself, whose grey is between two bytes, needs it. */
  readonly rest: number;
  /** A number of the picture's own that all of it has to be multiplied by, known at run time only. */
  readonly gain?: string | undefined;
}

/** Scale and zero as an integer operator's inputs, without the gain. */
export function levelsIn(built: Builder, { scale, zero }: Levels): [scale: string, zero: string] {
  return [built.float(scale), built.byte(zero)];
}
