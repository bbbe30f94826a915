// The calls of this service's own: draw a photo, list the styles, fetch a stored result. Pure.

import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { imageResultSchema, PATHS, styleListSchema } from '../contract.ts';
import { answerHeaders, drawnHeaders, pictureContent } from './answer.ts';
import { DRAWING_ERRORS, type Failures } from './failures.ts';
import { KEY_IF_NEEDED } from './keys.ts';
import { fileField, formBody, PICTURE_TYPES, paramsOf, pictureHeaders, requestHeaders } from './request.ts';

/** The paths of this service's own. */
export function picturePaths(maxSide: number, failures: Failures): ZodOpenApiPathsObject {
  return {
    [PATHS.images]: { post: postImages(maxSide, failures) },
    [PATHS.styles]: { get: getStyles(failures) },
    [`${PATHS.results}/{id}`]: { get: getResult('get', failures), head: getResult('head', failures) },
  };
}

function postImages(maxSide: number, failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.images;
  const form = formBody({ image: fileField('The photo. The field may be called "file" as well.') });
  const raw = Object.fromEntries(
    PICTURE_TYPES.map((type) => [type, { schema: fileField('The bytes of the photo.') }]),
  );
  return {
    operationId: 'drawImage',
    tags: ['pictures'],
    summary: 'Draw a photo',
    description:
      'As a form or as raw bytes. `format` decides what comes back; without it `Accept` does, and PNG is the default. `Accept: application/json` (or `format=json`) answers with the details, the picture as a data URL and a link to it. Parameters may be form fields as well; one that is given in both places must have the same value.',
    security: KEY_IF_NEEDED,
    requestParams: { query: paramsOf(path, maxSide), header: pictureHeaders },
    requestBody: { required: true, content: { ...form.content, ...raw } },
    responses: {
      200: {
        description: 'The picture, or what is known about it.',
        headers: drawnHeaders,
        content: { ...pictureContent, 'application/json': { schema: imageResultSchema } },
      },
      ...failures(path, [...DRAWING_ERRORS, 'storage_full']),
    },
  };
}

function getStyles(failures: Failures): ZodOpenApiOperationObject {
  return {
    operationId: 'listStyles',
    tags: ['pictures'],
    summary: 'List the styles',
    requestParams: { header: requestHeaders },
    responses: {
      200: {
        description: 'The styles that can be drawn now.',
        headers: answerHeaders,
        content: { 'application/json': { schema: styleListSchema } },
      },
      ...failures(PATHS.styles, ['internal_error', 'no_upstream', 'draining']),
    },
  };
}

function getResult(method: 'get' | 'head', failures: Failures): ZodOpenApiOperationObject {
  const validators = answerHeaders.extend({
    etag: z.string().meta({ description: 'Never changes: a result is written once.' }),
    'cache-control': z.string().meta({ description: 'Immutable.' }),
  });
  const withBody = method === 'get' ? { content: pictureContent } : {};
  return {
    operationId: method === 'get' ? 'getResult' : 'headResult',
    tags: ['pictures'],
    summary: method === 'get' ? 'Fetch a stored result' : 'Ask about a stored result',
    description:
      'What `result_url` of a JSON answer points to. Nobody can guess its id; it is kept for a day, unless the operator has set another time.',
    requestParams: {
      path: z.object({
        id: z
          .string()
          .meta({ description: 'The id of a JSON answer.', example: 'vm-1.3q2-7wAAAAAAAAAAAAAAAA' }),
      }),
      header: requestHeaders.extend({
        range: z.string().optional().meta({ description: 'A part of the picture.', example: 'bytes=0-1023' }),
        'if-none-match': z.string().optional().meta({ description: 'The ETag that you have.' }),
      }),
    },
    responses: {
      200: { description: 'The picture.', headers: validators, ...withBody },
      206: {
        description: 'The part that was asked for.',
        headers: validators.extend({
          'content-range': z.string().meta({ description: 'Which part this is.' }),
        }),
        ...withBody,
      },
      304: { description: 'You have it already.', headers: validators },
      ...failures(PATHS.results, ['not_found', 'range_not_satisfiable', 'internal_error', 'no_upstream']),
    },
  };
}
