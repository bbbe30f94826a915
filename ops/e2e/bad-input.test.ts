// Everything that is no picture gets its code in the shape of its path, costs no worker its life, and is never a 5xx.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import test from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import { site, startCluster, untilWorkers } from './cluster.ts';
import { form, photo } from './pictures.ts';

/** A PNG that says it is of that size; its rows are there, all black, one bit a pixel. */
function flatPng(side: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([1, 0, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.alloc(side * (1 + Math.ceil(side / 8))))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const good = await photo(1, 320, 240);
const text = (content: string) => Buffer.from(content);

interface BadPicture {
  readonly name: string;
  readonly bytes: Buffer;
  readonly filename?: string;
  readonly status: number;
  readonly code: string;
}

const pictures: BadPicture[] = [
  { name: 'nothing', bytes: Buffer.alloc(0), status: 400, code: 'empty_image' },
  { name: 'half a JPEG', bytes: good.subarray(0, good.length >> 1), status: 422, code: 'broken_image' },
  { name: 'random bytes', bytes: randomBytes(50_000), status: 415, code: 'unsupported_image' },
  {
    name: 'text named .jpg',
    bytes: text('I am a photo, honestly.'),
    filename: 'me.jpg',
    status: 415,
    code: 'unsupported_image',
  },
  {
    name: 'an SVG',
    bytes: text(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>',
    ),
    status: 415,
    code: 'unsupported_image',
  },
  {
    name: 'a GIF',
    bytes: Buffer.concat([text('GIF89a'), randomBytes(200)]),
    status: 415,
    code: 'unsupported_image',
  },
  {
    name: 'a PDF',
    bytes: text('%PDF-1.7\n1 0 obj << >> endobj\n%%EOF'),
    status: 415,
    code: 'unsupported_image',
  },
  {
    name: 'a HEIC',
    bytes: Buffer.concat([Buffer.from([0, 0, 0, 24]), text('ftypheic\0\0\0\0mif1heic'), randomBytes(200)]),
    status: 415,
    code: 'unsupported_image',
  },
  { name: 'one pixel', bytes: await photo(2, 1, 1), status: 422, code: 'image_too_small' },
  { name: 'a bomb of 30000 × 30000', bytes: flatPng(30_000), status: 422, code: 'image_too_large' },
];

/**
 * Asks whether a body may be sent (`Expect: 100-continue`) and sends it only then. A client that just writes meets a
 * closed connection after the first MiB, and not every HTTP library reads the answer that came before.
 */
function announce(url: string, body: Buffer) {
  return new Promise<{ status: number | undefined; said: Record<string, unknown>; continued: boolean }>(
    (resolve, reject) => {
      let continued = false;
      const asking = request(url, {
        method: 'POST',
        agent: false,
        headers: {
          expect: '100-continue',
          'content-type': 'multipart/form-data; boundary=x',
          'content-length': body.length,
        },
      });
      asking.on('continue', () => {
        continued = true;
        asking.end(body);
      });
      asking.on('response', (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('end', () => {
          asking.destroy();
          resolve({
            status: answer.statusCode,
            said: JSON.parse(text) as Record<string, unknown>,
            continued,
          });
        });
      });
      asking.on('error', reject);
      asking.flushHeaders();
    },
  );
}

/** A path, the field that it takes, and where its failures keep code and words. */
const dialects = [
  { path: '/transform', field: 'file', words: 'error' },
  { path: '/upload', field: 'file', words: 'error' },
  { path: '/v1/images', field: 'image', words: 'detail' },
  { path: '/api/v1/transform', field: 'image', words: 'message' },
] as const;

test('what is no picture is refused with its code, and the service goes on', async (context) => {
  const cluster = await startCluster(await site(context));
  const before = (await untilWorkers(cluster, 2)).map(({ pid }) => pid).sort();
  const post = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
    fetch(cluster.url + path, { method: 'POST', body, headers, signal: AbortSignal.timeout(30_000) });
  const judge = async (answer: Response, words: string, status: number, code: string, about: string) => {
    const said = (await answer.json()) as Record<string, unknown>;
    assert.deepEqual([answer.status, said.code], [status, code], about);
    assert.equal(typeof said[words], 'string', `${about}: its words stand in "${words}"`);
    assert.doesNotMatch(JSON.stringify(said), /\.(js|ts):\d+|node_modules/, `${about}: no stack`);
    if (words === 'detail')
      assert.match(answer.headers.get('content-type') ?? '', /application\/problem\+json/);
    if (words === 'message') assert.equal(said.status, 'error');
    return said;
  };

  for (const { name, bytes, filename, status, code } of pictures) {
    await context.test(name, async () => {
      for (const { path, field, words } of dialects) {
        const answer = await post(path, form({ [field]: bytes }, filename));
        await judge(answer, words, status, code, `${name} at ${path}`);
      }
      const raw = await post('/v1/images', new Uint8Array(bytes), { 'content-type': 'image/jpeg' });
      await judge(raw, 'detail', status, code, `${name} as raw body`);
      const json = JSON.stringify({ data: [`data:image/jpeg;base64,${bytes.toString('base64')}`] });
      await judge(
        await post('/api/predict', json, { 'content-type': 'application/json' }),
        'error',
        status,
        code,
        `${name} as JSON`,
      );
    });
  }

  await context.test(
    '40 MB, announced as curl announces large uploads: refused before a byte is sent',
    async () => {
      const body = await new Response(
        form({ file: Buffer.concat([good, Buffer.alloc(40e6)]) }),
      ).arrayBuffer();
      for (const { path, words } of dialects) {
        const answer = await announce(cluster.url + path, Buffer.from(body));
        assert.equal(answer.continued, false, path);
        assert.deepEqual([answer.status, answer.said.code], [413, 'upload_too_large'], path);
        assert.equal(typeof answer.said[words], 'string', path);
      }
    },
  );

  await context.test('a form without a picture', async () => {
    for (const { path, words } of dialects)
      await judge(await post(path, form({ style: 'sky' })), words, 400, 'empty_image', path);
  });

  await context.test('two pictures', async () => {
    for (const { path, field, words } of dialects) {
      const body = form({ [field]: good });
      body.append(field, new Blob([new Uint8Array(good)]), 'second.jpg');
      await judge(await post(path, body), words, 400, 'bad_request', path);
    }
  });

  await context.test('an unknown style is answered with those that exist', async () => {
    for (const { path, field, words } of dialects) {
      const said = await judge(
        await post(`${path}?style=nosuch`, form({ [field]: good })),
        words,
        400,
        'unknown_style',
        path,
      );
      assert.match(JSON.stringify(said), /meadow/);
    }
  });

  await context.test('numbers out of bounds are answered with the bounds', async () => {
    const said = await judge(
      await post('/v1/images?max_side=5000', form({ image: good })),
      'detail',
      400,
      'bad_request',
      'max_side',
    );
    assert.match(String(said.detail), /16 to 1024/);
  });

  await context.test('afterwards the same workers draw a good picture, and none has crashed', async () => {
    assert.equal((await post('/transform', form({ file: good }))).status, 200);
    assert.deepEqual((await untilWorkers(cluster, 2)).map(({ pid }) => pid).sort(), before);
  });
});
