// The public API as an OpenAPI 3.1 document, made from the schemas that the service itself checks with, the table of
// errors and the limits of the settings. Pure. It tells what exists; it decides nothing. The paths stand in `openapi/`, by
// the tags of the document.

import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi';
import { dialectPaths } from './openapi/dialects.ts';
import { failuresOnce } from './openapi/failures.ts';
import { healthPaths } from './openapi/health.ts';
import { SECURITY_SCHEMES } from './openapi/keys.ts';
import { picturePaths } from './openapi/pictures.ts';
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
          description: 'The same operation with the paths and shapes that older clients know.',
        },
        { name: 'health', description: 'For supervisors, load balancers and operators.' },
      ],
      components: { securitySchemes: SECURITY_SCHEMES },
      paths: paths(limits.max_side),
    },
    { override: ({ jsonSchema }) => loosen(jsonSchema) },
  );
}

/** All paths; equal failures are one component, whichever paths they are told with. */
function paths(maxSide: number): ZodOpenApiPathsObject {
  const failures = failuresOnce();
  return { ...picturePaths(maxSide, failures), ...dialectPaths(maxSide, failures), ...healthPaths() };
}

/** Takes out what would bind clients for nothing: answers may grow members, and JavaScript's largest integer says nothing. */
function loosen(schema: { [key: string]: unknown }): void {
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}

function introduction(limits: OpenapiOptions['limits']): string {
  const megapixels = Math.round(limits.pixels / 1e5) / 10;
  return [
    'Photo in, anime picture out. Send one photo, get it back drawn in a style. JPEG, PNG and WebP are read, whatever the file is called.',
    `Limits here: ${spaced(limits.upload)} an upload (${spaced(limits.json)} as JSON), ${megapixels} megapixels in, ${limits.max_side} px on the longest side out.`,
    'Every failure carries a `code` of the [table of errors](/docs/errors) and the `request_id` of the log lines. 429 and 503 carry `Retry-After`.',
    'Any path may also answer 405 (`method_not_allowed`), 417 (`expectation_failed`), 431 (`headers_too_large`), 501 (`not_implemented`) and 505 (`http_version_not_supported`) by their HTTP meaning.',
  ].join('\n\n');
}

const spaced = (bytes: number) => formatSize(bytes).replace(/(\d)([A-Z])/, '$1 $2');
