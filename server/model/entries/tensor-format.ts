// How pixels stand in a tensor: element type, value range, channel order, layout. tensor.ts brings them there. Pure.

import { z } from 'zod';

const valuesSchema = z.strictObject({
  /** The tensor's element type. */
  type: z.enum(['uint8', 'float32']),
  /** The values that stand for black and for full light. */
  range: z.tuple([z.number(), z.number()]).refine(([black, white]) => black < white, 'black below white'),
});

/** A picture's way into a tensor and out of one. */
export const tensorFormatSchema = z.strictObject({
  layout: z.enum(['NHWC', 'NCHW']),
  channels: z.enum(['RGB', 'BGR']),
  input: valuesSchema,
  output: valuesSchema,
});
export type TensorFormat = z.infer<typeof tensorFormatSchema>;

/** Pixels as they are: what rewritten graphs take and give. */
export const PIXEL_FORMAT: TensorFormat = {
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'uint8', range: [0, 255] },
  output: { type: 'uint8', range: [0, 255] },
};
