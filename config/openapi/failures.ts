// What can go wrong, as answers of the document: each from the table of errors, in the shape of its path. Pure.

import { z } from 'zod';
import type { ZodOpenApiResponseObject, ZodOpenApiResponsesObject } from 'zod-openapi';
import { HEADERS, plainErrorSchema, problemSchema, statusErrorSchema } from '../contract.ts';
import { ERRORS, type ErrorCode, type ErrorShape, errorShapeOf } from '../errors.ts';
import { answerHeaders, limitHeaders } from './answer.ts';

/** What can go wrong with every request for a picture. */
export const DRAWING_ERRORS: readonly ErrorCode[] = [
  'bad_request',
  'unknown_style',
  'empty_image',
  'unauthorized',
  'upload_too_slow',
  'upload_too_large',
  'unsupported_image',
  'broken_image',
  'image_too_large',
  'image_too_small',
  'rate_limited',
  'internal_error',
  'upstream_failed',
  'overloaded',
  'no_upstream',
  'draining',
  'deadline_exceeded',
];

/** The failures of a path, one answer a status, in the shape of the path. */
export type Failures = (path: string, codes: readonly ErrorCode[]) => ZodOpenApiResponsesObject;

/** Remembers what it made, so that equal answers are one component of the document. */
export function failuresOnce(): Failures {
  const made = new Map<string, ZodOpenApiResponseObject>();
  const answer = (shape: ErrorShape, status: number, codes: readonly ErrorCode[]) => {
    const id = [shape, ...codes].join('.');
    const known = made.get(id) ?? failure(id, shape, status, codes);
    made.set(id, known);
    return known;
  };
  return (path, codes) => {
    const statuses = [...new Set(codes.map((code) => ERRORS[code].status))];
    return Object.fromEntries(
      statuses.map((status) => [
        String(status),
        answer(
          errorShapeOf(path),
          status,
          codes.filter((code) => ERRORS[code].status === status),
        ),
      ]),
    );
  };
}

const ERROR_BODIES: Record<ErrorShape, { readonly type: string; readonly schema: z.ZodType }> = {
  problem: { type: 'application/problem+json', schema: problemSchema },
  status: { type: 'application/json', schema: statusErrorSchema },
  plain: { type: 'application/json', schema: plainErrorSchema },
};

const retryHeaders = answerHeaders.extend({
  'retry-after': z
    .int()
    .min(1)
    .optional()
    .meta({
      description: 'Whole seconds after which it is worth coming back.',
      header: { id: 'retry-after' },
    }),
  [HEADERS.queueLength]: z
    .int()
    .min(0)
    .optional()
    .meta({ description: 'How many pictures are waiting.', header: { id: HEADERS.queueLength } }),
});

const limitedHeaders = retryHeaders
  .pick({ [HEADERS.requestId]: true, 'retry-after': true })
  .extend(limitHeaders);

const unauthorizedHeaders = answerHeaders.extend({
  [HEADERS.authenticate]: z
    .string()
    .meta({ description: 'How to send a key.', header: { id: HEADERS.authenticate } }),
});

function failure(
  id: string,
  shape: ErrorShape,
  status: number,
  codes: readonly ErrorCode[],
): ZodOpenApiResponseObject {
  const { type, schema } = ERROR_BODIES[shape];
  return {
    id,
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title}`).join('\n\n'),
    headers: failureHeaders(status),
    content: { [type]: { schema, examples: errorExamples(shape, codes) } },
  };
}

function failureHeaders(status: number) {
  if (status === 503) return retryHeaders;
  if (status === 429) return limitedHeaders;
  return status === 401 ? unauthorizedHeaders : answerHeaders;
}

function errorExamples(shape: ErrorShape, codes: readonly ErrorCode[]) {
  const request_id = '0196f7c2-5a3e-7b11-9c40-2f6f1f0c9a55';
  return Object.fromEntries(
    codes.map((code) => {
      const { status, title } = ERRORS[code];
      const value = {
        problem: { type: `/docs/errors#${code}`, title, status, detail: title, code, request_id },
        status: { status: 'error', message: title, code, request_id },
        plain: { error: title, code, request_id },
      }[shape];
      return [code, { value }];
    }),
  );
}
