import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ToonError } from './errors.ts';
import { formatOfAccept, type ImageRequest, imageRequestQuery, readImageRequest } from './image-request.ts';

const limits = { max_side: 1024 };

interface Given {
  query?: string;
  fields?: [string, string][];
  pictureField?: string;
  accept?: string;
}
const read = (path: string, { query = '', fields = [], pictureField = 'image', accept }: Given = {}) =>
  readImageRequest({ path, query: new URLSearchParams(query), fields, pictureField, accept }, limits);

const accepts: [accept: string | undefined, format: string][] = [
  [undefined, 'png'],
  ['*/*', 'png'],
  ['image/*', 'png'],
  ['image/jpeg', 'jpeg'],
  ['image/webp', 'webp'],
  ['application/json', 'json'],
  ['image/avif,image/webp,image/png,*/*;q=0.8', 'png'],
  ['image/webp,*/*;q=0.8', 'webp'],
  ['image/jpeg;q=0.5, image/png;q=0.4', 'jpeg'],
  ['image/jpeg;q=0.4, image/png;q=0.5', 'png'],
  ['text/html,application/xhtml+xml,image/webp,*/*;q=0.8', 'png'],
  ['application/json, text/plain, */*', 'png'],
  ['application/json, */*;q=0.1', 'json'],
  ['audio/ogg', 'png'],
  ['image/jpeg;q=x', 'png'],
  [',,;;q=', 'png'],
];
for (const [accept, format] of accepts) {
  test(`Accept "${accept}" asks for ${format}`, () => assert.equal(formatOfAccept(accept), format));
}

test('format wins over Accept', () => {
  assert.equal(read('/v1/images', { query: 'format=webp', accept: 'image/jpeg' }).format, 'webp');
  assert.equal(read('/v1/images', { query: 'format=jpg' }).format, 'jpeg');
});

const shapes: [path: string, given: Given, shape: string, style: string | undefined][] = [
  ['/v1/images', {}, 'picture', undefined],
  ['/v1/images', { accept: 'application/json' }, 'image-result', undefined],
  ['/v1/images', { fields: [['format', 'json']] }, 'image-result', undefined],
  ['/transform', { pictureField: 'file' }, 'picture', undefined],
  ['/transform', { accept: 'application/json' }, 'picture', undefined],
  ['/upload', { pictureField: 'file' }, 'attachment', undefined],
  ['/upload', { pictureField: 'image', fields: [['style', 'sky']] }, 'transform-result', 'sky'],
  ['/api/v1/transform', {}, 'transform-result', 'hayao_64'],
  ['/api/predict', {}, 'predict-result', undefined],
  ['/api/predict/', {}, 'predict-result', undefined],
];
for (const [path, given, shape, style] of shapes) {
  test(`${path} with ${JSON.stringify(given)} answers a ${shape}`, () => {
    const request = read(path, given);
    assert.deepEqual([request.shape, request.style], [shape, style]);
  });
}

const refusals: [query: string, path: string, detail: RegExp][] = [
  ['max_side=15', '/v1/images', /max_side: found "15"; allowed: a whole number from 16 to 1024/],
  ['max_side=1025', '/v1/images', /16 to 1024/],
  ['max_side=big', '/v1/images', /found "big"/],
  ['max_side=', '/v1/images', /max_side/],
  ['max_side=1e2', '/v1/images', /found "1e2"/],
  ['quality=0x40', '/v1/images', /found "0x40"/],
  ['max_side=100.5', '/v1/images', /max_side/],
  ['quality=0', '/v1/images', /quality: found "0"; allowed: a whole number from 1 to 100/],
  ['quality=101', '/v1/images', /1 to 100/],
  ['format=gif', '/v1/images', /format: found "gif"; allowed: png, jpeg, webp or json/],
  ['effort=max', '/v1/images', /fast, auto or full/],
  ['faces=all', '/v1/images', /faces: found "all"; allowed: auto or off/],
  ['style=a&style=b', '/v1/images', /style: was given as "a" and "b"/],
  ['format=jpeg', '/transform', /\/transform answers PNG/],
];
for (const [query, path, detail] of refusals) {
  test(`${path}?${query} is a bad request that names the bounds`, () => {
    assert.throws(
      () => read(path, { query }),
      (error) => error instanceof ToonError && error.code === 'bad_request' && detail.test(error.message),
    );
  });
}

test('a field and a query that differ are a bad request, equal ones are not', () => {
  assert.throws(
    () => read('/v1/images', { query: 'style=a', fields: [['style', 'b']] }),
    /given as "a" and "b"/,
  );
  assert.equal(read('/v1/images', { query: 'style=a', fields: [['style', 'a']] }).style, 'a');
});

test('a worker reads from the canonical query what the balancer read from the client', () => {
  const paths = fc.constantFrom(
    ['/v1/images', 'image'] as const,
    ['/transform', 'file'] as const,
    ['/upload', 'file'] as const,
    ['/upload', 'image'] as const,
    ['/api/v1/transform', 'image'] as const,
    ['/api/predict', 'image'] as const,
  );
  const given = fc.record(
    {
      style: fc.stringMatching(/^[a-zA-Z0-9_ &=+%-]{1,20}$/),
      max_side: fc.integer({ min: 16, max: 1024 }).map(String),
      quality: fc.integer({ min: 1, max: 100 }).map(String),
      effort: fc.constantFrom('fast', 'auto', 'full'),
      faces: fc.constantFrom('auto', 'off'),
      base64: fc.constantFrom('true', 'false'),
    },
    { requiredKeys: [] },
  );
  const format = fc.constantFrom(undefined, 'png', 'jpeg', 'jpg', 'webp', 'json');
  fc.assert(
    fc.property(paths, given, format, ([path, pictureField], params, wanted) => {
      const fields = Object.entries(params).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      );
      if (wanted !== undefined && path === '/v1/images') fields.push(['format', wanted]);
      const before: ImageRequest = read(path, { fields, pictureField });
      const after = read(path, { query: imageRequestQuery(before).toString(), pictureField });
      assert.deepEqual(after, before);
    }),
  );
});
