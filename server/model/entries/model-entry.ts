// The entry of a generator: its file, how it is fed, the style that it draws, and its faster variants.

import { z } from 'zod';
import { EXECUTION_PROVIDERS } from '../../../config/schema.ts';
import { fileInside, licence, MODEL_NAME, sealSchema, sha256, side, styleSchema } from './entry-fields.ts';
import { tensorFormatSchema } from './tensor-format.ts';

/** What may stand beside a picture up to a model's multiple. */
export const PADDINGS = ['edge', 'white', 'dct-net'] as const;
export type Padding = (typeof PADDINGS)[number];

/** The same model, rewritten to be faster: takes and gives the pixels as they are. Made by `models optimize`. */
export const variantSchema = z.strictObject({
  /** What X-Model calls it. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/),
  file: fileInside,
  sha256,
  /** The worst of the pictures that it was compared with its source on, in dB. */
  psnr: z.number(),
  ssim: z.number(),
  /** CPU time of the source by its own, where it was made. */
  ratio: z.number().positive(),
});
export type Variant = z.infer<typeof variantSchema>;

export const modelEntrySchema = tensorFormatSchema.extend({
  name: z.string().regex(MODEL_NAME),
  /** The ONNX file, relative to the manifest. */
  file: fileInside,
  kind: z.literal('generator'),
  /** Both sides of the input are multiples of it. */
  size_multiple: side.default(1),
  /** Smaller pictures are enlarged to it for the model. */
  min_side: side.default(16),
  /** Width and height, for models that take one size only. */
  fixed_size: z.tuple([side, side]).optional(),
  /** The longest that the shorter side may be for it, px; a larger drawing is enlarged to the answer. */
  max_short_side: side.optional(),
  /**
   * What stands beside the picture up to `size_multiple`: its edge (which goes without saying), or white. `dct-net` is white too, and where one side
   * is no multiple the other grows by a whole one even if it is: its networks were fed so.
   */
  padding: z.enum(PADDINGS).optional(),
  // One input, one output: a generator draws one style, under as many aliases as it likes; or none, when it only draws
  // parts of pictures for a face-composite.
  styles: z.array(styleSchema).max(1),
  licence,
  source: z.string().max(500).default(''),
  ...sealSchema.shape,
  /** What computes it, where that is not models.execution_providers. */
  execution_providers: z.array(z.enum(EXECUTION_PROVIDERS)).min(1).optional(),
  /** Faster ones of the same model; a worker draws with the fastest that its CPU runs correctly. */
  variants: z.array(variantSchema).max(4).optional(),
});
export type ModelEntry = z.infer<typeof modelEntrySchema>;
