import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { PATHS } from './contract.ts';
import { ERRORS, type ErrorCode, errorShapeOf, renderError, ToonError } from './errors.ts';
import { openapiDocument } from './openapi.ts';
import { settingsSchema } from './schema.ts';

const { limits } = settingsSchema.parse({});

/** A part of the document; leaves are texts and numbers, and are cast where they are read. */
interface Json {
  readonly [key: string]: Json;
}

/** The document as a client reads it. */
const document = JSON.parse(JSON.stringify(openapiDocument({ version: '1.2.3', limits }))) as Json;

/** Follows a `$ref` of the document. */
function resolve(node: Json | undefined): Json {
  assert.ok(node);
  const ref: unknown = node.$ref;
  if (typeof ref !== 'string') return node;
  const steps = ref.replace('#/', '').split('/');
  return resolve(steps.reduce<Json | undefined>((at, key) => at?.[key], document));
}

/** Every operation: its path, method and body. */
const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
);

test('the document is valid OpenAPI 3.1, and so is one with other limits', async () => {
  for (const max_side of [limits.max_side, 16, 4096]) {
    const text = JSON.stringify(openapiDocument({ version: '1.2.3', limits: { ...limits, max_side } }));
    const validator = new Validator();
    assert.deepEqual(await validator.validate(JSON.parse(text)), { valid: true });
    assert.equal(validator.version, '3.1');
  }
});

test('every public path is told, and nothing else', () => {
  const site: string[] = [PATHS.docs, PATHS.openapi, PATHS.page, PATHS.thumbnails];
  const expected = Object.values(PATHS)
    .filter((path) => !site.includes(path))
    .map((path) => (path === PATHS.results ? `${path}/{id}` : path));
  assert.deepEqual(Object.keys(document.paths ?? {}).sort(), expected.sort());
});

test('every reference leads somewhere, and every operation has a name of its own', () => {
  const names = operations.map(({ operation }) => String(operation.operationId));
  assert.equal(new Set(names).size, names.length);
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('$ref' in node) resolve(node as Json);
    for (const child of Object.values(node)) visit(child);
  };
  visit(document);
});

test('every failure that is told has the status of the table, and its example is what the service writes', () => {
  for (const { path, method, operation } of operations) {
    for (const [status, reference] of Object.entries(operation.responses ?? {})) {
      const answer = resolve(reference);
      for (const [type, media] of Object.entries(answer.content ?? {})) {
        for (const [code, example] of Object.entries(media.examples ?? {})) {
          const row = ERRORS[code as ErrorCode];
          assert.equal(String(row.status), status, `${method} ${path} ${code}`);
          const value = resolve(example).value as unknown as { request_id: string };
          const written = renderError(new ToonError(code as ErrorCode), errorShapeOf(path), value.request_id);
          assert.deepEqual(value, JSON.parse(written.body));
          assert.equal(written.headers['content-type']?.split(';')[0], type);
        }
      }
    }
  }
});

test('429 and 503 tell when to come back, and 401 how to send a key, wherever a picture can be sent', () => {
  for (const path of [PATHS.images, PATHS.transform, PATHS.upload, PATHS.apiTransform, PATHS.predict]) {
    const answer = (status: string) => resolve(document.paths?.[path]?.post?.responses?.[status]);
    assert.ok(answer('503').headers?.['retry-after'], path);
    for (const name of ['retry-after', 'ratelimit', 'ratelimit-policy'])
      assert.ok(answer('429').headers?.[name], `${path} ${name}`);
    assert.ok(answer('401').headers?.['www-authenticate'], path);
  }
});

test('the bounds of the parameters are those of the settings', () => {
  const small = JSON.parse(
    JSON.stringify(openapiDocument({ version: '1.2.3', limits: { ...limits, max_side: 640 } })),
  ) as {
    paths: Record<string, { post: { parameters: { name: string; schema: Record<string, unknown> }[] } }>;
  };
  const parameter = small.paths[PATHS.images]?.post.parameters.find(({ name }) => name === 'max_side');
  assert.equal(parameter?.schema.minimum, 16);
  assert.equal(parameter?.schema.maximum, 640);
});

test('equal options give equal documents', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(openapiDocument({ version: '1.2.3', limits }))), document);
});
