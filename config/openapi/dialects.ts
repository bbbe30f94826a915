// The same call in the shapes that older clients speak: one operation a path. Pure.

import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { PATHS, predictRequestSchema, predictResultSchema, transformResultSchema } from '../contract.ts';
import { drawnHeaders } from './answer.ts';
import { DRAWING_ERRORS, type Failures } from './failures.ts';
import { KEY_IF_NEEDED } from './keys.ts';
import { fileField, formBody, paramsOf, pictureHeaders } from './request.ts';

/** The paths that older clients know. */
export function dialectPaths(maxSide: number, failures: Failures): ZodOpenApiPathsObject {
  return {
    [PATHS.transform]: { post: postTransform(maxSide, failures) },
    [PATHS.upload]: { post: postUpload(maxSide, failures) },
    [PATHS.apiTransform]: { post: postApiTransform(maxSide, failures) },
    [PATHS.predict]: { post: postPredict(maxSide, failures) },
  };
}

function postTransform(maxSide: number, failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.transform;
  return {
    operationId: 'transform',
    tags: ['dialects'],
    summary: 'A form in, a PNG out',
    security: KEY_IF_NEEDED,
    requestParams: { header: pictureHeaders },
    requestBody: formBody(
      { file: fileField('The photo. The field may be called "image" as well.') },
      paramsOf(path, maxSide),
    ),
    responses: {
      200: {
        description: 'The picture.',
        headers: drawnHeaders,
        content: { 'image/png': { schema: fileField('The picture.') } },
      },
      ...failures(path, DRAWING_ERRORS),
    },
  };
}

function postUpload(maxSide: number, failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.upload;
  return {
    operationId: 'upload',
    tags: ['dialects'],
    summary: 'A form in; the field decides what comes out',
    description:
      'With the photo in `file` the PNG comes back as a download; with the photo in `image` the JSON of `/api/v1/transform` comes back.',
    security: KEY_IF_NEEDED,
    requestParams: { header: pictureHeaders },
    requestBody: formBody(
      {
        // Only one of the two fields is told here: docs that show both as inputs send an empty one beside the photo.
        file: fileField(
          'The photo, to be answered with a PNG. Named "image", it is answered with JSON.',
        ).optional(),
      },
      paramsOf(path, maxSide),
    ),
    responses: {
      200: {
        description: 'The picture as an attachment, or JSON.',
        headers: drawnHeaders,
        content: {
          'image/png': { schema: fileField('The picture.') },
          'application/json': { schema: transformResultSchema },
        },
      },
      ...failures(path, [...DRAWING_ERRORS, 'storage_full']),
    },
  };
}

function postApiTransform(maxSide: number, failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.apiTransform;
  return {
    operationId: 'apiTransform',
    tags: ['dialects'],
    summary: 'A form in, JSON out',
    description:
      'The style is `hayao_64` when none is given: that model if it is installed, otherwise the nearest embedded style.',
    security: KEY_IF_NEEDED,
    requestParams: { header: pictureHeaders },
    requestBody: formBody(
      { image: fileField('The photo. The field may be called "file" as well.') },
      paramsOf(path, maxSide),
    ),
    responses: {
      200: {
        description: 'The picture as a data URL, and a link to it.',
        headers: drawnHeaders,
        content: { 'application/json': { schema: transformResultSchema } },
      },
      ...failures(path, [...DRAWING_ERRORS, 'storage_full']),
    },
  };
}

function postPredict(maxSide: number, failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.predict;
  return {
    operationId: 'predict',
    tags: ['dialects'],
    summary: 'A data URL in, a data URL out',
    security: KEY_IF_NEEDED,
    requestParams: { query: paramsOf(path, maxSide), header: pictureHeaders },
    requestBody: {
      required: true,
      content: {
        'application/json': {
          schema: predictRequestSchema,
          example: { data: ['data:image/jpeg;base64,/9j/4AAQ…', 'meadow'] },
        },
      },
    },
    responses: {
      200: {
        description: 'The picture as a data URL of a PNG, and the seconds it took.',
        headers: drawnHeaders,
        content: { 'application/json': { schema: predictResultSchema } },
      },
      ...failures(path, DRAWING_ERRORS),
    },
  };
}
