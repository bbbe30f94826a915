// What a request may carry: headers, parameters, and a photo in a form. Which path takes which of it is told with the path.
// Pure.

import { z } from 'zod';
import type { ZodOpenApiRequestBodyObject } from 'zod-openapi';
import { HEADERS, PATHS } from '../contract.ts';
import { imageParamsSchema } from '../image-request.ts';
import { pictureKinds } from '../picture.ts';

/** The headers of every request. */
export const requestHeaders = z.object({
  [HEADERS.requestId]: z
    .string()
    .regex(/^[A-Za-z0-9._:-]{1,128}$/)
    .optional()
    .meta({
      description:
        'Your id for this request. It is echoed and appears in every log line; one is made if you send none.',
    }),
});

/** The headers of a request for a picture. */
export const pictureHeaders = requestHeaders.extend({
  [HEADERS.deadlineMs]: z
    .int()
    .min(1)
    .max(600_000)
    .optional()
    .meta({ description: 'How many ms you will wait; the default is the setting balancer.deadline.' }),
  [HEADERS.priority]: z
    .enum(['interactive', 'batch'])
    .optional()
    .meta({ description: '`batch` for work that may wait behind live users.' }),
  'cache-control': z.string().optional().meta({
    description:
      '`no-cache` draws the picture anew even if the same one is kept; `no-store` does that and does not keep it.',
    example: 'no-cache',
  }),
});

/** The media types of pictures, both ways. */
export const PICTURE_TYPES = pictureKinds.map((kind) => `image/${kind}` as const);

/** The bytes of a picture, in a form or by themselves. */
export const fileField = (description: string) =>
  z.string().meta({ description, override: { type: 'string', format: 'binary' } });

/**
 * The parameters that a path takes; only `/v1/images` answers in other formats than PNG. Each is told in one place,
 * the query or the form, though the service reads both: who fills in both by accident gets a 400.
 */
export function paramsOf(path: string, maxSide: number): z.ZodObject {
  const { max_side, effort, ...rest } = imageParamsSchema(maxSide).shape;
  const all = z
    .object({
      ...rest,
      max_side: max_side.meta({ ...max_side.meta(), example: maxSide }),
      effort: effort.meta({ ...effort.meta(), example: 'full' }),
    })
    .partial();
  return path === PATHS.images ? all : all.pick({ style: true, max_side: true, effort: true, faces: true });
}

/** A form of these fields, and of parameters where a path takes them there. */
export function formBody(
  fields: Record<string, z.ZodType>,
  params: z.ZodObject = z.object({}),
): ZodOpenApiRequestBodyObject {
  return {
    required: true,
    content: { 'multipart/form-data': { schema: z.object({ ...fields, ...params.shape }) } },
  };
}
