// Entries of a manifest that have to do with faces: what finds them, and what draws them over a background.

import { z } from 'zod';
import { TEMPLATES } from '../../faces/alignment.ts';
import { fileInside, licence, MODEL_NAME, sealSchema, sha256, side, styleSchema } from './entry-fields.ts';

const share = z.number().min(0).max(1);

/** What a detector of the RetinaFace kind is fed, and how its outputs are read. */
export const detectorSpecSchema = z.strictObject({
  layout: z.enum(['NHWC', 'NCHW']),
  channels: z.enum(['RGB', 'BGR']),
  /** Taken from every value (0 to 255) of the three channels, in their order… */
  mean: z.tuple([z.number(), z.number(), z.number()]).default([0, 0, 0]),
  /** …which is then multiplied. */
  scale: z.number().positive().default(1),
  /** The longer side of what it looks at, px: larger pictures are reduced to it. */
  side: side.default(640),
  /** Both sides of its input are multiples of it. */
  size_multiple: side.default(32),
  /** True for one that takes `side` × `side` only. */
  fixed: z.boolean().default(false),
  anchors: z
    .array(z.strictObject({ stride: side, sizes: z.array(z.number().positive()).min(1).max(8) }))
    .min(1)
    .max(8),
  variances: z.tuple([z.number().positive(), z.number().positive()]).default([0.1, 0.2]),
  /** The names of its outputs; left out, they are told by their last dimensions: 4, 2 and 10. */
  outputs: z.strictObject({ boxes: z.string(), scores: z.string(), landmarks: z.string() }).optional(),
  /** True where its scores are still to be made likelihoods. */
  softmax: z.boolean().default(false),
  /** The least likelihood of a face. */
  score: share.default(0.6),
  /** Boxes that share more than this mean the same face. */
  overlap: share.default(0.4),
});
export type DetectorSpec = z.infer<typeof detectorSpecSchema>;

export const detectorEntrySchema = detectorSpecSchema.extend({
  name: z.string().regex(MODEL_NAME),
  file: fileInside,
  kind: z.literal('detector'),
  licence,
  source: z.string().max(500).default(''),
  ...sealSchema.shape,
});
export type DetectorEntry = z.infer<typeof detectorEntrySchema>;

const template = z.union([
  z.enum(Object.keys(TEMPLATES) as [keyof typeof TEMPLATES, ...(keyof typeof TEMPLATES)[]]),
  // Beyond the crop is allowed: a model may want a part of a face only.
  z.array(z.tuple([z.number().min(-1).max(2), z.number().min(-1).max(2)])).length(5),
]);

/** Faces drawn by one model, blended over a background that another one draws. */
export const compositeEntrySchema = z.strictObject({
  name: z.string().regex(MODEL_NAME),
  kind: z.literal('face-composite'),
  /** Names of the detector and of the two generators; the background may be an embedded one. */
  detector: z.string().regex(MODEL_NAME),
  face: z.string().regex(MODEL_NAME),
  background: z.string().regex(MODEL_NAME),
  /** The side of the square that the face model draws, px. */
  crop: z.number().int().min(32).max(1024).default(512),
  /** Where the face model expects eyes, nose and mouth: a template's name, or five points as shares of the crop. */
  align: template.default('ffhq'),
  /** What a crop shows beyond the photo's edge. */
  beyond: z.enum(['edge', 'white']).default('edge'),
  /** Whether a face is brought to the light of the background's drawing, or stays as its model drew it. */
  tone: z.enum(['match', 'own']).default('match'),
  /** How far the face fades into the background, as a share of the crop's half. */
  feather: z.number().min(0.02).max(1).default(0.4),
  /** A grey picture beside the manifest that says instead how much of the crop is seen. */
  mask: z.strictObject({ file: fileInside, sha256 }).optional(),
  /** The most faces of one picture; the largest are drawn. */
  max_faces: z.number().int().min(1).max(50).default(8),
  /** A face's shorter side, px of the drawing; smaller ones are left to the background. */
  smallest_face: z.number().int().min(8).max(1024).default(32),
  styles: z.array(styleSchema).length(1),
});
export type CompositeEntry = z.infer<typeof compositeEntrySchema>;
