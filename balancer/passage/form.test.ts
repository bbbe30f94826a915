import assert from 'node:assert/strict';
import test from 'node:test';
import { Busboy } from '@fastify/busboy';
import fc from 'fast-check';
import { ToonError } from '../../config/errors.ts';
import { excessiveGrowth, timesAsLong } from '../../ops/process/test-growth.ts';
import { bodyKindOf, parseForm, splitMultipart } from './form.ts';

const CRLF = '\r\n';
interface Written {
  readonly name: string;
  readonly filename?: string | undefined;
  readonly content: string | Buffer;
}
const write = (boundary: string, parts: readonly Written[], preamble = '', epilogue = ''): Buffer =>
  Buffer.concat([
    Buffer.from(preamble === '' ? '' : preamble + CRLF),
    ...parts.flatMap(({ name, filename, content }) => [
      Buffer.from(
        `--${boundary}${CRLF}Content-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}${CRLF}${filename === undefined ? '' : `Content-Type: image/png${CRLF}`}${CRLF}`,
      ),
      Buffer.from(content),
      Buffer.from(CRLF),
    ]),
    Buffer.from(`--${boundary}--${CRLF}${epilogue}`),
  ]);

const parse = (body: Buffer, path = '/transform', max = 1000) =>
  parseForm(path, { kind: 'multipart', boundary: 'b' }, body, max);
const code = (expected: string) => (error: unknown) => error instanceof ToonError && error.code === expected;

test('the picture is a view of the body, and fields come beside it', () => {
  const body = write('b', [
    { name: 'style', content: 'meadow' },
    { name: 'file', filename: 'a.png', content: Buffer.from([1, 2, 3, 13, 10, 45, 45]) },
    { name: 'style', content: 'sky' },
  ]);
  const form = parse(body);
  assert.deepEqual([...form.picture], [1, 2, 3, 13, 10, 45, 45]);
  assert.equal(form.picture.buffer, body.buffer);
  assert.equal(form.pictureField, 'file');
  assert.deepEqual(form.fields, [
    ['style', 'meadow'],
    ['style', 'sky'],
  ]);
});

test('a preamble and an epilogue are passed over', () => {
  assert.equal(
    parse(write('b', [{ name: 'file', content: 'x' }], 'hello\r\n--c', 'bye')).picture.toString(),
    'x',
  );
});

const refused: { name: string; body: Buffer; code: string }[] = [
  { name: 'an empty body', body: Buffer.alloc(0), code: 'bad_request' },
  { name: 'a body without the boundary', body: Buffer.from('hello'), code: 'bad_request' },
  {
    name: 'a body that is never closed',
    body: Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nxx'),
    code: 'bad_request',
  },
  { name: 'a part without headers', body: Buffer.from('--b\r\n--b--\r\n'), code: 'bad_request' },
  {
    name: 'a part without a name',
    body: Buffer.from('--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n'),
    code: 'bad_request',
  },
  {
    name: 'a part with two dispositions',
    body: Buffer.from(
      '--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n',
    ),
    code: 'bad_request',
  },
  {
    name: 'a part with two names',
    body: Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; name="a"\r\n\r\nx\r\n--b--\r\n'),
    code: 'bad_request',
  },
  {
    name: 'a part in base64',
    body: Buffer.from(
      '--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\n',
    ),
    code: 'bad_request',
  },
  {
    name: 'a header of 1 MB',
    body: Buffer.from(
      `--b\r\nContent-Disposition: form-data; name="file"; filename="${'a'.repeat(1e6)}"\r\n\r\nx\r\n--b--\r\n`,
    ),
    code: 'bad_request',
  },
  {
    name: 'a bare line feed in a header',
    body: Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\nX: y\r\n\r\nx\r\n--b--\r\n'),
    code: 'bad_request',
  },
  {
    name: 'two pictures in one field',
    body: write('b', [
      { name: 'file', content: 'x' },
      { name: 'file', content: 'y' },
    ]),
    code: 'bad_request',
  },
  {
    name: 'two pictures in two fields',
    body: write('b', [
      { name: 'file', content: 'x' },
      { name: 'image', content: 'y' },
    ]),
    code: 'bad_request',
  },
  {
    name: 'a file in another field',
    body: write('b', [
      { name: 'file', content: 'x' },
      { name: 'other', filename: 'b', content: 'y' },
    ]),
    code: 'bad_request',
  },
  { name: 'no picture', body: write('b', [{ name: 'style', content: 'meadow' }]), code: 'empty_image' },
  {
    name: 'an empty picture',
    body: write('b', [{ name: 'file', filename: '', content: '' }]),
    code: 'empty_image',
  },
  {
    name: 'a picture that is too large',
    body: write('b', [{ name: 'file', content: Buffer.alloc(1001) }]),
    code: 'upload_too_large',
  },
  {
    name: 'a field of 5 KB',
    body: write('b', [{ name: 'style', content: 'x'.repeat(5000) }]),
    code: 'bad_request',
  },
  {
    name: 'ten thousand parts',
    body: write(
      'b',
      Array.from({ length: 10_000 }, () => ({ name: 'a', content: '' })),
    ),
    code: 'bad_request',
  },
];
for (const { name, body, code: expected } of refused)
  test(`${name} is ${expected}`, () => assert.throws(() => parse(body), code(expected)));

const hostile: { name: string; body: (bytes: number) => string }[] = [
  { name: 'boundaries alone', body: (bytes) => '\r\n--b'.repeat(bytes / 5) },
  { name: 'lines that begin like boundaries', body: (bytes) => `--b\r\n${'\r\n--b '.repeat(bytes / 6)}` },
  {
    name: 'a disposition of quotes and semicolons',
    body: (bytes) =>
      `--b\r\nContent-Disposition: form-data; name="${'\\"'.repeat(bytes / 4)}${';='.repeat(bytes / 4)}\r\n\r\nx\r\n--b--`,
  },
  {
    name: 'a filename that is half an escape',
    body: (bytes) =>
      `--b\r\nContent-Disposition: form-data; name="file"; filename*=UTF-8''${'%'.repeat(bytes)}\r\n\r\nx\r\n--b--`,
  },
];
for (const { name, body } of hostile)
  test(`a hostile body of ${name} is refused, in a time that grows no faster than it`, () => {
    assert.throws(() => splitMultipart(Buffer.from(body(3_000_000)), 'b'), code('bad_request'));
    const prepare = (bytes: number) => {
      const whole = Buffer.from(body(bytes));
      return () => splitMultipart(whole, 'b');
    };
    assert.equal(excessiveGrowth(prepare, 3_000_000), undefined);
  });

const kinds: { contentType: string | undefined; path?: string; kind: object | 'bad_request' }[] = [
  { contentType: undefined, kind: { kind: 'raw' } },
  { contentType: 'image/jpeg; charset=x', kind: { kind: 'raw' } },
  { contentType: 'application/x-www-form-urlencoded', kind: { kind: 'raw' } },
  { contentType: 'multipart/form-data; boundary=abc', kind: { kind: 'multipart', boundary: 'abc' } },
  {
    contentType: 'Multipart/Form-Data; charset=utf-8; Boundary="a b"',
    kind: { kind: 'multipart', boundary: 'a b' },
  },
  { contentType: 'multipart/form-data', kind: 'bad_request' },
  { contentType: 'multipart/form-data; boundary=', kind: 'bad_request' },
  { contentType: `multipart/form-data; boundary=${'a'.repeat(71)}`, kind: 'bad_request' },
  { contentType: 'multipart/mixed; boundary=abc', kind: 'bad_request' },
  { contentType: 'multipart/form-data; boundary=abc', path: '/api/predict', kind: { kind: 'json' } },
];
for (const { contentType, path = '/transform', kind } of kinds)
  test(`a body of type ${contentType?.slice(0, 60)} on ${path} is ${JSON.stringify(kind)}`, () => {
    if (kind === 'bad_request') assert.throws(() => bodyKindOf(path, contentType), code('bad_request'));
    else assert.deepEqual(bodyKindOf(path, contentType), kind);
  });

const predict = (json: unknown) =>
  parseForm(
    '/api/predict',
    { kind: 'json' },
    Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)),
    1000,
  );

test('a data URL and a style are understood', () => {
  const form = predict({ data: [`data:image/png;base64,${Buffer.from('hello').toString('base64')}`, 'sky'] });
  assert.equal(form.picture.toString(), 'hello');
  assert.deepEqual(form.fields, [['style', 'sky']]);
});

test('bare base64 is understood too, with and without padding', () => {
  assert.equal(predict({ data: ['aGVsbG8='] }).picture.toString(), 'hello');
  assert.equal(predict({ data: ['aGVsbG8'] }).picture.toString(), 'hello');
});

test('of a member that comes twice the last one counts, as everywhere in JSON', () => {
  assert.equal(predict('{"data":["d3Jvbmc="],"data":["aGVsbG8="]}').picture.toString(), 'hello');
});

/** So much JSON of keys that all fall into few places of V8's tables: it hashes what looks like an index by its number. */
function collidingKeys(bytes: number): string {
  const keys = Array.from({ length: bytes / 16 }, (_, at) => `"${(at + 1) * 65_536}":0`);
  return `{${keys.join(',')}}`;
}

/** As much JSON with as many keys, or lists, or letters, that are nobody's fault. */
const harmlessKeys = (bytes: number) =>
  `{${Array.from({ length: bytes / 16 }, (_, at) => `"k${at + 1_000_000}":0`).join(',')}}`;
const harmlessLists = (bytes: number) => `[${'[],'.repeat(bytes / 3)}0]`;
const harmlessPicture = (bytes: number) => `{"data":["${'A'.repeat(bytes)}"]}`;
for (const { name, json, harmless } of [
  { name: 'keys that collide', json: collidingKeys, harmless: harmlessKeys },
  {
    name: 'lists within lists',
    json: (bytes: number) => '['.repeat(bytes / 2) + ']'.repeat(bytes / 2),
    harmless: harmlessLists,
  },
  {
    name: 'members within members',
    json: (bytes: number) => '{"a":'.repeat(bytes / 5),
    harmless: harmlessLists,
  },
  {
    name: 'base64 with a fault at its end',
    json: (bytes: number) => `{"data":["${'A'.repeat(bytes)}!!!!"]}`,
    harmless: harmlessPicture,
  },
])
  test(`predict: 1 MB of ${name} is judged about as quickly as 1 MB that is nobody’s fault`, () => {
    const [bad, good] = [Buffer.from(json(1_000_000)), Buffer.from(harmless(1_000_000))];
    const read = (body: Buffer) => () => parseForm('/api/predict', { kind: 'json' }, body, 1000);
    // Each key with each would be thousands of times.
    const ratio = timesAsLong(read(bad), read(good));
    assert.ok(ratio < 20, `${ratio.toFixed(1)} times as long`);
  });

const badPredicts: { name: string; json: unknown; code: string }[] = [
  { name: 'no JSON', json: '{', code: 'bad_request' },
  { name: 'JSON of depth 100,000', json: '['.repeat(100_000) + ']'.repeat(100_000), code: 'bad_request' },
  { name: 'no data', json: {}, code: 'bad_request' },
  { name: 'data that is no list', json: { data: 'x' }, code: 'bad_request' },
  { name: 'an empty list', json: { data: [] }, code: 'bad_request' },
  { name: 'too long a list', json: { data: Array.from({ length: 9 }, () => 'x') }, code: 'bad_request' },
  { name: 'a picture that is a number', json: { data: [1] }, code: 'bad_request' },
  { name: 'no picture', json: { data: [null] }, code: 'empty_image' },
  { name: 'an empty picture', json: { data: ['data:image/png;base64,'] }, code: 'empty_image' },
  { name: 'a data URL without base64', json: { data: ['data:image/png,hello'] }, code: 'bad_request' },
  { name: 'damaged base64', json: { data: ['data:image/png;base64,aGV!bG8='] }, code: 'bad_request' },
  { name: 'a picture beyond all numbers', json: '{"data":[1e400]}', code: 'bad_request' },
  { name: 'a style beyond all numbers', json: '{"data":["aGVsbG8=",-1e400]}', code: 'bad_request' },
  {
    name: 'a data URL of something else than base64',
    json: { data: ['data:image/png;charset=x;base65,aGVsbG8='] },
    code: 'bad_request',
  },
  { name: 'a web address', json: { data: ['https://example.com/me.jpg'] }, code: 'bad_request' },
  { name: 'a file', json: { data: ['file:///etc/passwd'] }, code: 'bad_request' },
  { name: 'keys that collide, for 1 MB', json: collidingKeys(1_000_000), code: 'bad_request' },
  { name: 'a style that is a number', json: { data: ['aGVsbG8=', 7] }, code: 'bad_request' },
  {
    name: 'a picture that is too large',
    json: { data: [Buffer.alloc(1001).toString('base64')] },
    code: 'upload_too_large',
  },
];
for (const { name, json, code: expected } of badPredicts)
  test(`predict: ${name} is ${expected}`, () => assert.throws(() => predict(json), code(expected)));

test('a prototype in JSON poisons nobody', () => {
  const form = predict('{"data":["aGVsbG8="],"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}');
  assert.equal(form.picture.toString(), 'hello');
  assert.throws(() => predict('{"__proto__":{"data":["aGVsbG8="]}}'), code('bad_request'));
  assert.throws(() => predict('{"data":[{"__proto__":{"x":1}}]}'), code('bad_request'));
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

/** What busboy makes of a body: names, filenames and contents; undefined when it complains. */
function withBusboy(
  body: Buffer,
  boundary: string,
): Promise<[string, string | undefined, string][] | undefined> {
  return new Promise((resolve) => {
    const parts: [string, string | undefined, string][] = [];
    const parser = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      isPartAFile: () => true,
      preservePath: true,
    });
    parser.on('file', (name: string, stream: NodeJS.ReadableStream, filename: string | undefined) => {
      const chunks: Buffer[] = [];
      const part: [string, string | undefined, string] = [name, filename, ''];
      parts.push(part);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        part[2] = Buffer.concat(chunks).toString('latin1');
      });
    });
    parser.on('error', () => resolve(undefined));
    parser.on('finish', () => setImmediate(() => resolve(parts)));
    parser.end(body);
  });
}

const boundaries = fc.stringMatching(/^[0-9A-Za-z'_-]{1,20}$/);
const nasty = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc
    .array(fc.constantFrom('\r\n', '--', '\r', '\n', '-', 'b', '\r\n--', 'x', ':', '"', ' '), {
      maxLength: 20,
    })
    .map((all) => Buffer.from(all.join(''))),
);

test('what any writer writes, this parser and busboy read alike', async () => {
  await fc.assert(
    fc.asyncProperty(
      boundaries,
      fc.array(
        fc.record({
          name: fc.stringMatching(/^[a-z_]{1,10}$/),
          filename: fc.option(fc.stringMatching(/^[a-zA-Z0-9 .()-]{1,20}$/), { nil: undefined }),
          content: nasty,
        }),
        { minLength: 1, maxLength: 5 },
      ),
      async (boundary, parts) => {
        fc.pre(
          parts.every(
            ({ content }) => !`\r\n${content.toString('latin1')}\r\n`.includes(`\r\n--${boundary}`),
          ),
        );
        const body = write(boundary, parts);
        const ours = splitMultipart(body, boundary).map(({ name, filename, content }) => [
          name,
          filename,
          content.toString('latin1'),
        ]);
        assert.deepEqual(
          ours,
          parts.map(({ name, filename, content }) => [name, filename, content.toString('latin1')]),
        );
        assert.deepEqual(ours, await withBusboy(body, boundary));
      },
    ),
    { numRuns: 200 },
  );
});

test('a damaged body is refused or read as busboy reads it, never otherwise', async () => {
  const body = write('b', [
    { name: 'style', content: 'meadow' },
    { name: 'file', filename: 'a.png', content: 'some bytes\r\nmore' },
  ]);
  const damage = fc.record({
    at: fc.nat(body.length - 1),
    kind: fc.constantFrom('drop', 'replace', 'insert'),
    bytes: fc.array(fc.constantFrom(0, 9, 10, 13, 32, 34, 45, 58, 59, 61, 98, 255), {
      minLength: 1,
      maxLength: 3,
    }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
      let bytes = body;
      for (const { at, kind, bytes: added } of damages) {
        const tail = bytes.subarray(kind === 'insert' ? at : at + (kind === 'drop' ? 1 : added.length));
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          kind === 'drop' ? Buffer.alloc(0) : Buffer.from(added),
          tail,
        ]);
      }
      let ours: unknown[];
      try {
        ours = splitMultipart(bytes, 'b').map(({ name, content }) => [name, content.toString('latin1')]);
      } catch (error) {
        assert.ok(error instanceof ToonError && error.code === 'bad_request', String(error));
        return;
      }
      const theirs = await withBusboy(bytes, 'b');
      if (theirs)
        assert.deepEqual(
          ours,
          theirs.map(([name, , content]) => [name, content]),
        );
    }),
    { numRuns: 500 },
  );
});
