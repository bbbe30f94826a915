// The public API as an OpenAPI 3.1 document, made from the schemas that the service itself checks with, the table of
// errors and the limits of the settings. Pure. It tells what exists; it decides nothing.

import { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiRequestBodyObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import {
  HEADERS,
  healthSchema,
  imageResultSchema,
  liveSchema,
  PATHS,
  plainErrorSchema,
  predictRequestSchema,
  predictResultSchema,
  problemSchema,
  readySchema,
  statusErrorSchema,
  styleListSchema,
  transformResultSchema,
} from './contract.ts';
import { ERRORS, type ErrorCode, type ErrorShape, errorShapeOf } from './errors.ts';
import { imageParamsSchema } from './image-request.ts';
import { pictureKinds } from './picture.ts';
import { formatSize } from './units.ts';

/** What the document says about this one installation; the limits are `limits` of the settings. */
export interface OpenapiOptions {
  readonly version: string;
  readonly limits: {
    readonly upload: number;
    readonly json: number;
    readonly pixels: number;
    readonly max_side: number;
  };
}

/** The document, ready to be written as JSON. */
export type OpenapiDocument = ReturnType<typeof createDocument>;

/** Builds the document. Equal options give equal documents. */
export function openapiDocument({ version, limits }: OpenapiOptions): OpenapiDocument {
  return createDocument(
    {
      openapi: '3.1.1',
      info: {
        title: 'toonfleet',
        version,
        description: introduction(limits),
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/', description: 'This server' }],
      tags: [
        { name: 'pictures', description: 'Draw a photo in a style.' },
        {
          name: 'dialects',
          description: 'The same call with the paths and shapes that older clients speak.',
        },
        { name: 'health', description: 'For supervisors, balancers and people who look.' },
      ],
      components: { securitySchemes: SECURITY_SCHEMES },
      paths: paths(limits),
    },
    { override: ({ jsonSchema }) => loosen(jsonSchema) },
  );
}

/** A key is needed only where the operator says so; then either way of sending it will do. */
const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An API key of the operator.' },
  apiKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'The same, in a header of its own.',
  },
} as const;
const KEY_IF_NEEDED = [{}, { bearer: [] }, { apiKey: [] }];

/** Takes out what would bind clients for nothing: answers may grow members, and JavaScript's largest integer says nothing. */
function loosen(schema: { [key: string]: unknown }): void {
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}

function introduction(limits: OpenapiOptions['limits']): string {
  const megapixels = Math.round(limits.pixels / 1e5) / 10;
  return [
    'Photo in, anime picture out. Send one photo, get it back drawn in a style. JPEG, PNG and WebP are read, whatever the file calls itself.',
    `Limits here: ${spaced(limits.upload)} an upload (${spaced(limits.json)} as JSON), ${megapixels} megapixels in, ${limits.max_side} px on the longest side out.`,
    'Every failure carries a `code` of the [table of errors](/docs/errors) and the `request_id` of the log lines. 429 and 503 carry `Retry-After`.',
    'Any path may also answer 405 (`method_not_allowed`), 417 (`expectation_failed`), 431 (`headers_too_large`), 501 (`not_implemented`) and 505 (`http_version_not_supported`) by their HTTP meaning.',
  ].join('\n\n');
}

const spaced = (bytes: number) => formatSize(bytes).replace(/(\d)([A-Z])/, '$1 $2');

// -- Parameters and bodies

const requestHeaders = z.object({
  [HEADERS.requestId]: z
    .string()
    .regex(/^[A-Za-z0-9._:-]{1,128}$/)
    .optional()
    .meta({
      description:
        'Your name for this request. It is echoed and stands in every log line; made when it is missing.',
    }),
});

const pictureHeaders = requestHeaders.extend({
  [HEADERS.deadlineMs]: z
    .int()
    .min(1)
    .max(600_000)
    .optional()
    .meta({ description: 'How many ms you will wait; without it the setting balancer.deadline.' }),
  [HEADERS.priority]: z
    .enum(['interactive', 'batch'])
    .optional()
    .meta({ description: '`batch` for work that may wait behind live users.' }),
  'cache-control': z.string().optional().meta({
    description: '`no-cache` draws anew where the same picture is kept; `no-store` keeps none of it either.',
    example: 'no-cache',
  }),
});

const PICTURE_TYPES = pictureKinds.map((kind) => `image/${kind}` as const);

/** The bytes of a picture inside a form. */
const fileField = (description: string) =>
  z.string().meta({ description, override: { type: 'string', format: 'binary' } });

/**
 * The parameters that a path takes; only `/v1/images` answers in other formats than PNG. Each is told in one place,
 * the query or the form, though the service reads both: who fills in both by accident gets a 400.
 */
function paramsOf(path: string, maxSide: number): z.ZodObject {
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

function formBody(
  fields: Record<string, z.ZodType>,
  params: z.ZodObject = z.object({}),
): ZodOpenApiRequestBodyObject {
  return {
    required: true,
    content: { 'multipart/form-data': { schema: z.object({ ...fields, ...params.shape }) } },
  };
}

// -- Answers

const answerHeaders = z.object({
  [HEADERS.requestId]: z
    .string()
    .meta({ description: 'The id of this request, as in the logs.', header: { id: HEADERS.requestId } }),
});

/** Where a limit applies; draft-ietf-httpapi-ratelimit-headers. */
const limitHeaders = {
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

const drawnHeaders = answerHeaders.extend({
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
      '`full`, or `fast` with what was spared: the longest side that was drawn, and the style where it is another than the wanted one.',
    example: 'fast; side=512',
    header: { id: HEADERS.effort },
  }),
  [HEADERS.faces]: z
    .string()
    .regex(/^\d+$/)
    .optional()
    .meta({
      description: 'How many faces were drawn by themselves; only from a style that looks for faces.',
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
        'The balancer: `hit` was kept, or drawn for an equal request at the same time; `miss` was drawn; `bypass` did not look.',
      header: { id: HEADERS.cache },
    }),
});

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
    .meta({ description: 'How many pictures wait.', header: { id: HEADERS.queueLength } }),
});

const limitedHeaders = retryHeaders
  .pick({ [HEADERS.requestId]: true, 'retry-after': true })
  .extend(limitHeaders);

const unauthorizedHeaders = answerHeaders.extend({
  [HEADERS.authenticate]: z
    .string()
    .meta({ description: 'How to send a key.', header: { id: HEADERS.authenticate } }),
});

const pictureContent = Object.fromEntries(
  PICTURE_TYPES.map((type) => [type, { schema: fileField('The picture.') }]),
);

const ERROR_BODIES: Record<ErrorShape, { readonly type: string; readonly schema: z.ZodType }> = {
  problem: { type: 'application/problem+json', schema: problemSchema },
  status: { type: 'application/json', schema: statusErrorSchema },
  plain: { type: 'application/json', schema: plainErrorSchema },
};

/** What can go wrong with every request for a picture. */
const DRAWING_ERRORS: readonly ErrorCode[] = [
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
type Failures = (path: string, codes: readonly ErrorCode[]) => ZodOpenApiResponsesObject;

/** Remembers what it made, so that equal answers are one component of the document. */
function failuresOnce(): Failures {
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

// -- Paths

function paths(limits: OpenapiOptions['limits']): ZodOpenApiPathsObject {
  const failures = failuresOnce();
  return {
    [PATHS.images]: { post: postImages(limits, failures) },
    [PATHS.styles]: { get: getStyles(failures) },
    [`${PATHS.results}/{id}`]: { get: getResult('get', failures), head: getResult('head', failures) },
    [PATHS.transform]: { post: postTransform(limits, failures) },
    [PATHS.upload]: { post: postUpload(limits, failures) },
    [PATHS.apiTransform]: { post: postApiTransform(limits, failures) },
    [PATHS.predict]: { post: postPredict(limits, failures) },
    [PATHS.health]: { get: getHealth() },
    [PATHS.ready]: { get: getReady('ready') },
    [PATHS.live]: { get: getLive('live') },
    [PATHS.kserveLive]: { get: getLive('kserveLive') },
    [PATHS.kserveReady]: { get: getReady('kserveReady') },
  };
}

function postImages({ max_side }: OpenapiOptions['limits'], failures: Failures): ZodOpenApiOperationObject {
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
      'As a form or as raw bytes. `format` decides what comes back; without it `Accept` does, and PNG is the default. `Accept: application/json` (or `format=json`) answers with the details, the picture as a data URL and a link to it. The parameters may stand in the form as well; one that is given twice must be the same.',
    security: KEY_IF_NEEDED,
    requestParams: { query: paramsOf(path, max_side), header: pictureHeaders },
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
      'What `result_url` of a JSON answer points to. It can be guessed by nobody, and is kept for a day unless the operator set another time.',
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
        description: 'The asked part of it.',
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

function postTransform(
  { max_side }: OpenapiOptions['limits'],
  failures: Failures,
): ZodOpenApiOperationObject {
  const path = PATHS.transform;
  return {
    operationId: 'transform',
    tags: ['dialects'],
    summary: 'A form in, a PNG out',
    security: KEY_IF_NEEDED,
    requestParams: { header: pictureHeaders },
    requestBody: formBody(
      { file: fileField('The photo. The field may be called "image" as well.') },
      paramsOf(path, max_side),
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

function postUpload({ max_side }: OpenapiOptions['limits'], failures: Failures): ZodOpenApiOperationObject {
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
      paramsOf(path, max_side),
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

function postApiTransform(
  { max_side }: OpenapiOptions['limits'],
  failures: Failures,
): ZodOpenApiOperationObject {
  const path = PATHS.apiTransform;
  return {
    operationId: 'apiTransform',
    tags: ['dialects'],
    summary: 'A form in, JSON out',
    description:
      'The style is `hayao_64` when none is given: that model when it is installed, else its nearest embedded style.',
    security: KEY_IF_NEEDED,
    requestParams: { header: pictureHeaders },
    requestBody: formBody(
      { image: fileField('The photo. The field may be called "file" as well.') },
      paramsOf(path, max_side),
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

function postPredict({ max_side }: OpenapiOptions['limits'], failures: Failures): ZodOpenApiOperationObject {
  const path = PATHS.predict;
  return {
    operationId: 'predict',
    tags: ['dialects'],
    summary: 'A data URL in, a data URL out',
    security: KEY_IF_NEEDED,
    requestParams: { query: paramsOf(path, max_side), header: pictureHeaders },
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

function getHealth(): ZodOpenApiOperationObject {
  const answer = (description: string): ZodOpenApiResponseObject => ({
    description,
    headers: answerHeaders,
    content: { 'application/json': { schema: healthSchema } },
  });
  return {
    operationId: 'health',
    tags: ['health'],
    summary: 'Is a model loaded?',
    responses: { 200: answer('Healthy.'), 503: answer('No model is loaded.') },
  };
}

function getReady(name: 'ready' | 'kserveReady'): ZodOpenApiOperationObject {
  const answer = (description: string): ZodOpenApiResponseObject => ({
    description,
    headers: answerHeaders,
    content: { 'application/json': { schema: readySchema } },
  });
  return {
    operationId: name,
    tags: ['health'],
    summary: 'May pictures be sent?',
    responses: {
      200: answer('Ready.'),
      503: answer('Loading or draining; or, at the balancer, no usable worker.'),
    },
  };
}

function getLive(name: 'live' | 'kserveLive'): ZodOpenApiOperationObject {
  return {
    operationId: name,
    tags: ['health'],
    summary: 'Is the process alive?',
    responses: {
      200: {
        description: 'It is.',
        headers: answerHeaders,
        content: { 'application/json': { schema: liveSchema } },
      },
    },
  };
}
