// The fields that entries of a manifest share, whatever their kind.

import { z } from 'zod';

/** Ids of styles, as clients write them. */
export const STYLE_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** Names of models, as `models.load` and reports write them. */
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** A file, relative to the manifest and never above it. */
export const fileInside = z
  .string()
  .regex(/^[^\0]{1,255}$/)
  .refine((file) => !file.startsWith('/') && !file.split(/[\\/]/).includes('..'), 'inside its folder');

export const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** A side of a picture, px. */
export const side = z.number().int().min(1).max(8192);

/** Words that stand where a licence should, and name none. */
const NO_LICENCE = /^(unknown|unlabell?ed|unlicen[cs]ed|none|nothing|n\/?a|tbd|[-?. ]*)$/i;

/** Weights that nobody has labelled may belong to anybody: they are refused. */
export const licence = z
  .string()
  .trim()
  .max(200)
  .refine((name) => !NO_LICENCE.test(name), 'names the licence of the weights; without one they are refused');

export const goldenSchema = z.strictObject({
  /** The seed that the tiny picture is drawn from. */
  seed: z.number().int().min(0),
  /** What the model makes of it in short, as base64: block means of a drawing, or means of a detector's outputs. */
  means: z.base64(),
});
export type Golden = z.infer<typeof goldenSchema>;

/** What proves that a file is the one that was added, and that this CPU runs it right. */
export const sealSchema = z.strictObject({ sha256, golden: goldenSchema });

export const styleSchema = z.strictObject({
  id: z.string().regex(STYLE_ID),
  title: z.string().min(1).max(100),
  aliases: z.array(z.string().regex(STYLE_ID)).default([]),
  /** A picture of the style beside the manifest, shown to people who choose. */
  thumbnail: z
    .string()
    .regex(/^[a-z0-9/_-]+\.webp$/)
    .optional(),
});
