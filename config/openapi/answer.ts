// What a good answer carries: headers, and a picture as it is. What goes wrong is told in failures.ts. Pure.

import { z } from 'zod';
import { HEADERS } from '../contract.ts';
import { fileField, PICTURE_TYPES } from './request.ts';

/** The headers of every answer. */
export const answerHeaders = z.object({
  [HEADERS.requestId]: z
    .string()
    .meta({ description: 'The id of this request, as in the logs.', header: { id: HEADERS.requestId } }),
});

/** Where a limit applies; draft-ietf-httpapi-ratelimit-headers. */
export const limitHeaders = {
  [HEADERS.rateLimit]: z
    .string()
    .optional()
    .meta({
      description:
        'Where a limit applies: what is left of it (`r`), and in how many seconds there will be more (`t`).',
      example: '"client";r=7;t=1',
      header: { id: HEADERS.rateLimit },
    }),
  [HEADERS.rateLimitPolicy]: z
    .string()
    .optional()
    .meta({
      description: 'The limit: `q` requests in `w` seconds, or `q` at the same time (`concurrent-requests`).',
      example: '"client";q=10;w=10',
      header: { id: HEADERS.rateLimitPolicy },
    }),
};

/** The headers of an answer for which a picture was drawn. */
export const drawnHeaders = answerHeaders.extend({
  ...limitHeaders,
  [HEADERS.style]: z.string().meta({
    description: 'The style that was drawn; it may differ from an alias that was asked for.',
    header: { id: HEADERS.style },
  }),
  [HEADERS.model]: z.string().meta({
    description: 'The digest of the model file and the variant that ran.',
    header: { id: HEADERS.model },
  }),
  [HEADERS.effort]: z.string().meta({
    description:
      '`full`, or `fast` with what was drawn instead: the longest side, and the style if it is not the one that was asked for.',
    example: 'fast; side=512',
    header: { id: HEADERS.effort },
  }),
  [HEADERS.faces]: z
    .string()
    .regex(/^\d+$/)
    .optional()
    .meta({
      description: 'How many faces were drawn separately; only from a style that looks for faces.',
      header: { id: HEADERS.faces },
    }),
  [HEADERS.node]: z.string().meta({ description: 'The node that drew it.', header: { id: HEADERS.node } }),
  [HEADERS.serverTiming]: z.string().meta({
    description: 'Where the time went: upload, queue, decode, infer, encode and total, in ms.',
    header: { id: HEADERS.serverTiming },
  }),
  [HEADERS.cache]: z
    .enum(['hit', 'miss', 'bypass'])
    .optional()
    .meta({
      description:
        'From the balancer: `hit` was kept, or being drawn for an equal request; `miss` was drawn for you; with `bypass` the cache was not asked.',
      header: { id: HEADERS.cache },
    }),
});

/** A picture as it is, in any of the formats. */
export const pictureContent = Object.fromEntries(
  PICTURE_TYPES.map((type) => [type, { schema: fileField('The picture.') }]),
);
