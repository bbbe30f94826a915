// The worker's routes as clients meet them, in-process on a free port.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import sharp from 'sharp';
import {
  healthSchema,
  imageResultSchema,
  parseServerTiming,
  plainErrorSchema,
  predictResultSchema,
  problemSchema,
  readySchema,
  statusErrorSchema,
  styleListSchema,
  transformResultSchema,
  workerReportSchema,
} from '../config/contract.ts';
import { distance, jpeg, noise, png, pngBomb, webp } from './test-pictures.ts';
import {
  type Answer,
  ask,
  filePart,
  form,
  type Part,
  startTestWorker,
  type TestWorker,
} from './test-worker.ts';

const cleanups: (() => unknown)[] = [];
let worker: TestWorker;
let photo: Buffer;

before(async () => {
  worker = await startTestWorker(
    { after: (call: never) => cleanups.push(call) },
    { env: { TOONFLEET_LIMITS__UPLOAD: '1MiB', TOONFLEET_LIMITS__JSON: '1400KiB' } },
  );
  photo = await jpeg();
});
after(async () => {
  for (const clean of cleanups) await clean();
});

const raw = (path: string, body: Uint8Array = photo, headers: Record<string, string> = {}) =>
  ask(worker.port, path, { body, headers: { 'content-type': 'image/jpeg', ...headers } });
const send = (path: string, ...parts: Part[]) => ask(worker.port, path, form(...parts));
const predict = (body: unknown) =>
  ask(worker.port, '/api/predict', {
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
const dataUrl = (bytes: Buffer) => `data:image/jpeg;base64,${bytes.toString('base64')}`;

async function assertPicture(answer: Answer, format: string, width = 96, height = 64): Promise<void> {
  assert.equal(answer.status, 200, answer.body.toString('utf8').slice(0, 300));
  assert.equal(answer.headers['content-type'], `image/${format}`);
  assert.equal(Number(answer.headers['content-length']), answer.body.length);
  const found = await sharp(answer.body).metadata();
  assert.deepEqual([found.format, found.width, found.height], [format, width, height]);
}

function assertFailure(answer: Answer, status: number, code: string): Record<string, unknown> {
  assert.equal(answer.status, status, answer.body.toString('utf8').slice(0, 300));
  const body = answer.json();
  assert.equal(body.code, code);
  assert.equal(body.request_id, answer.headers['x-request-id']);
  assert.ok(!/node_modules|\.ts:\d| {4}at /.test(answer.body.toString('utf8')), 'no stack reaches a client');
  return body;
}

describe('POST /v1/images', () => {
  test('a raw picture comes back drawn, as PNG', async () => {
    const answer = await raw('/v1/images');
    await assertPicture(answer, 'png');
    const off = await distance(answer.body, await png());
    assert.ok(off > 1 && off < 60, `it is drawn, and still the same scene: ${off.toFixed(1)}`);
  });

  test('the answer says what was drawn, where, and where the time went', async () => {
    const { headers } = await raw('/v1/images?style=hayao_64', photo, { 'x-request-id': 'abc-1' });
    assert.equal(headers['x-request-id'], 'abc-1');
    assert.equal(headers['x-style'], 'meadow');
    assert.match(String(headers['x-model']), /^[0-9a-f]{12}; variant=f32$/);
    assert.equal(headers['x-node'], 'vm-test');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    const stages = Object.keys(parseServerTiming(String(headers['server-timing'])));
    assert.deepEqual(stages.sort(), ['decode', 'encode', 'infer', 'queue', 'total', 'upload']);
  });

  test('format wins over Accept, and Accept over nothing', async () => {
    await assertPicture(await raw('/v1/images?format=webp', photo, { accept: 'image/jpeg' }), 'webp');
    await assertPicture(await raw('/v1/images', photo, { accept: 'image/jpeg' }), 'jpeg');
    await assertPicture(await raw('/v1/images?format=jpg'), 'jpeg');
    await assertPicture(await raw('/v1/images', photo, { accept: 'text/html, image/webp' }), 'png');
  });

  test('max_side bounds the answer, and effort=fast halves it but not below 256', async () => {
    const large = await jpeg(800, 400);
    await assertPicture(await raw('/v1/images?max_side=600', large), 'png', 600, 300);
    await assertPicture(await raw('/v1/images?max_side=600&effort=fast', large), 'png', 300, 150);
    await assertPicture(await raw('/v1/images?max_side=300&effort=fast', large), 'png', 256, 128);
    await assertPicture(await raw('/v1/images?max_side=100&effort=fast', large), 'png', 100, 50);
  });

  test('an answer says at which size it was drawn when that was less than the full one', async () => {
    const large = await jpeg(800, 400);
    const effort = async (query: string) => (await raw(`/v1/images?${query}`, large)).headers['x-effort'];
    assert.equal(await effort('max_side=600'), 'full');
    assert.equal(await effort('max_side=600&effort=fast'), 'fast; side=300');
    assert.equal(await effort('max_side=100&effort=fast'), 'full');
    assert.equal(await effort('max_side=600&effort=auto'), 'full');
    const json = await raw('/v1/images?effort=fast&format=json&base64=false', large);
    assert.equal(imageResultSchema.parse(json.json()).effort, 'fast');
  });

  test('an auto answer depends on load and is not to be kept', async () => {
    assert.equal((await raw('/v1/images?effort=auto')).headers['cache-control'], 'no-store');
    assert.notEqual((await raw('/v1/images')).headers['cache-control'], 'no-store');
  });

  test('a form works with image and with file, and its fields count', async () => {
    for (const name of ['image', 'file']) {
      const answer = await send('/v1/images', filePart(name, photo), { name: 'style', content: 'ink' });
      await assertPicture(answer, 'png');
      assert.equal(answer.headers['x-style'], 'ink');
    }
  });

  test('texts with a content type are texts, and files without one are files', async () => {
    const answer = await send(
      '/v1/images',
      { name: 'image', content: photo, filename: 'photo' },
      {
        name: 'style',
        content: 'ink',
        type: 'text/plain; charset=utf-8',
        extraHeader: 'Content-Transfer-Encoding: 8bit',
      },
    );
    await assertPicture(answer, 'png');
    assert.equal(answer.headers['x-style'], 'ink');
  });

  test('JSON carries the picture and a way to get it again', async () => {
    const answer = await raw('/v1/images?format=json');
    const body = imageResultSchema.parse(answer.json());
    assert.deepEqual([body.width, body.height, body.style, body.model], [96, 64, 'meadow', 'meadow']);
    assert.ok(body.result_base64?.startsWith('data:image/png;base64,'));
    const stored = await ask(worker.port, body.result_url);
    assert.deepEqual(stored.body, Buffer.from(String(body.result_base64).split(',')[1] ?? '', 'base64'));
  });

  test('JSON leaves the picture out with base64=false', async () => {
    assert.equal((await raw('/v1/images?format=json&base64=false')).json().result_base64, undefined);
  });

  test('whatever a picture calls itself, its bytes decide', async () => {
    for (const type of [
      'image/png',
      'IMAGE/JPEG; charset=binary',
      'application/octet-stream',
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/pdf',
    ])
      await assertPicture(await raw('/v1/images', photo, { 'content-type': type }), 'png');
    await assertPicture(await ask(worker.port, '/v1/images', { body: await webp() }), 'png');
  });

  test('a body without a length works too', async () => {
    const answer = await ask(worker.port, '/v1/images', {
      method: 'POST',
      headers: { 'content-type': 'image/jpeg' },
      drive: (request) => {
        request.write(photo.subarray(0, 100));
        request.end(photo.subarray(100));
      },
    });
    await assertPicture(answer, 'png');
  });
});

describe('the dialects', () => {
  test('/transform takes file and answers the PNG', async () => {
    await assertPicture(await send('/transform', filePart('file', photo)), 'png');
  });

  test('/upload with file answers the PNG as a download', async () => {
    const answer = await send('/upload', filePart('file', photo));
    await assertPicture(answer, 'png');
    assert.equal(answer.headers['content-disposition'], 'attachment; filename="meadow.png"');
  });

  test('/upload with image answers JSON', async () => {
    const answer = await send('/upload', filePart('image', photo), { name: 'style', content: 'ink' });
    const body = transformResultSchema.parse(answer.json());
    assert.equal(body.style, 'ink');
    assert.equal((await ask(worker.port, body.result_url)).status, 200);
  });

  test('/upload from a balancer has the shape of the field that held the picture', async () => {
    const json = await raw('/upload', photo, { 'x-upload-field': 'image', 'x-attempt': '1' });
    assert.equal(transformResultSchema.parse(json.json()).status, 'success');
    await assertPicture(await raw('/upload', photo, { 'x-upload-field': 'file', 'x-attempt': '1' }), 'png');
  });

  test('/api/v1/transform answers in seconds, in hayao_64 unless told otherwise', async () => {
    const body = transformResultSchema.parse(
      (await send('/api/v1/transform', filePart('image', photo))).json(),
    );
    assert.equal(body.style, 'meadow');
    assert.ok(body.elapsed_time > 0 && body.elapsed_time < 60);
  });

  test('/api/predict takes a data URL or bare base64, and a style', async () => {
    for (const data of [[dataUrl(photo)], [photo.toString('base64'), null], [dataUrl(photo), '']]) {
      const body = predictResultSchema.parse((await predict({ data })).json());
      assert.ok(body.data[0]?.startsWith('data:image/png;base64,'));
    }
    assert.equal((await predict({ data: [dataUrl(photo), 'ink'] })).headers['x-style'], 'ink');
  });

  test('/api/predict/ is /api/predict, and a balancer sends it the bare picture', async () => {
    const answer = await raw('/api/predict/?style=ink', photo, { 'x-attempt': '1' });
    assert.equal(predictResultSchema.parse(answer.json()).data.length, 1);
    assert.equal(answer.headers['x-style'], 'ink');
  });
});

describe('bad input', () => {
  const pictures: [what: string, make: () => Promise<Buffer> | Buffer, status: number, code: string][] = [
    ['no bytes', () => Buffer.alloc(0), 400, 'empty_image'],
    ['one byte', () => Buffer.from([0xff]), 415, 'unsupported_image'],
    ['random bytes', () => noise(10_000), 415, 'unsupported_image'],
    ['text that is called .jpg', () => Buffer.from('hello, I am a photo'), 415, 'unsupported_image'],
    ['SVG', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 415, 'unsupported_image'],
    ['GIF', () => Buffer.from('GIF89a\x01\0\x01\0', 'latin1'), 415, 'unsupported_image'],
    ['PDF', () => Buffer.from('%PDF-1.7'), 415, 'unsupported_image'],
    ['HEIC', () => Buffer.from('\0\0\0\x18ftypheic\0\0\0\0', 'latin1'), 415, 'unsupported_image'],
    ['a 1×1 picture', () => png(1, 1), 422, 'image_too_small'],
    ['a 30000×30000 bomb', () => pngBomb(30_000, 30_000), 422, 'image_too_large'],
    ['a cut JPEG', () => photo.subarray(0, photo.length / 2), 422, 'broken_image'],
    ['a cut PNG', async () => (await png()).subarray(0, 500), 422, 'broken_image'],
    ['a cut WebP', async () => (await webp()).subarray(0, 300), 422, 'broken_image'],
    ['a header and nothing else', () => photo.subarray(0, 20), 422, 'broken_image'],
    ['2 MiB where one is allowed', () => noise(2 * 1024 ** 2), 413, 'upload_too_large'],
  ];
  for (const [what, make, status, code] of pictures) {
    test(`${what} is ${status} ${code} on every path, in its shape`, async () => {
      const bytes = await make();
      const problem = assertFailure(await raw('/v1/images', bytes), status, code);
      problemSchema.parse(problem);
      plainErrorSchema.parse(assertFailure(await send('/transform', filePart('file', bytes)), status, code));
      plainErrorSchema.parse(assertFailure(await send('/upload', filePart('image', bytes)), status, code));
      statusErrorSchema.parse(
        assertFailure(await send('/api/v1/transform', filePart('image', bytes)), status, code),
      );
      plainErrorSchema.parse(assertFailure(await predict({ data: [dataUrl(bytes)] }), status, code));
    });
  }

  test('a cut picture is refused wherever it was cut', async () => {
    for (let part = 1; part < 16; part++) {
      const answer = await raw('/v1/images', photo.subarray(0, Math.floor((photo.length * part) / 16)));
      assert.ok([415, 422].includes(answer.status), `${part}/16: ${answer.status}`);
    }
  });

  test('a missing field is empty_image and names the fields', async () => {
    const answer = await send('/v1/images', { name: 'style', content: 'ink' });
    assert.match(String(assertFailure(answer, 400, 'empty_image').detail), /"image" or "file"/);
    assertFailure(await send('/transform', filePart('photo', photo)), 400, 'empty_image');
    assertFailure(await raw('/v1/images', Buffer.alloc(0)), 400, 'empty_image');
    assertFailure(await ask(worker.port, '/transform', { method: 'POST' }), 400, 'empty_image');
  });

  test('a text where the file belongs is a bad request that says how', async () => {
    const answer = await send('/transform', { name: 'file', content: 'photo.jpg' });
    assert.match(String(assertFailure(answer, 400, 'bad_request').error), /-F file=@/);
  });

  test('two pictures are one too many', async () => {
    const twice = await send('/v1/images', filePart('image', photo), filePart('file', photo));
    assert.match(String(assertFailure(twice, 400, 'bad_request').detail), /one picture/);
    assertFailure(
      await send('/v1/images', filePart('image', photo), filePart('image', photo)),
      400,
      'bad_request',
    );
  });

  test('an unknown style is refused with the list', async () => {
    const body = assertFailure(await raw('/v1/images?style=vermeer'), 400, 'unknown_style');
    assert.deepEqual(body.styles, ['meadow', 'ink']);
    assertFailure(
      await send('/api/v1/transform', filePart('image', photo), { name: 'style', content: 'x y' }),
      400,
      'unknown_style',
    );
    assertFailure(await predict({ data: [dataUrl(photo), 'vermeer'] }), 400, 'unknown_style');
  });

  const params: [query: string, named: RegExp][] = [
    ['format=gif', /format/],
    ['max_side=15', /max_side.*16 to 1024/],
    ['max_side=1025', /max_side/],
    ['max_side=abc', /max_side/],
    ['quality=0', /quality.*1 to 100/],
    ['quality=101', /quality/],
    ['effort=heroic', /effort/],
    ['base64=maybe', /base64/],
    ['style=a&style=b', /style.*once/],
  ];
  for (const [query, named] of params) {
    test(`${query} is a bad request that says what is allowed`, async () => {
      assert.match(String(assertFailure(await raw(`/v1/images?${query}`), 400, 'bad_request').detail), named);
    });
  }

  test('a field and a query that differ are refused, equal ones are not', async () => {
    const both = (style: string) =>
      send(`/v1/images?style=${style}`, filePart('image', photo), { name: 'style', content: 'ink' });
    assertFailure(await both('meadow'), 400, 'bad_request');
    assert.equal((await both('ink')).status, 200);
  });

  test('/transform answers PNG only', async () => {
    assertFailure(await raw('/transform?format=jpeg'), 400, 'bad_request');
  });

  const jsons: [what: string, body: unknown, status: number, code: string][] = [
    ['no JSON', 'hello', 400, 'bad_request'],
    ['half JSON', '{"data": [', 400, 'bad_request'],
    ['no data', {}, 400, 'bad_request'],
    ['data that is no list', { data: 'x' }, 400, 'bad_request'],
    ['an empty list', { data: [] }, 400, 'bad_request'],
    ['a number for a picture', { data: [5] }, 400, 'bad_request'],
    ['null for a picture', { data: [null] }, 400, 'empty_image'],
    ['letters that are no base64', { data: ['data:image/png;base64,§§§§'] }, 400, 'bad_request'],
    ['base64 with a hole', { data: ['abc def!'] }, 400, 'bad_request'],
    ['a data URL that is not base64', { data: ['data:image/svg+xml,<svg/>'] }, 400, 'bad_request'],
    ['a data URL without a picture', { data: ['data:image/png;base64,'] }, 400, 'empty_image'],
    ['a number for a style', { data: ['AAAA', 5] }, 400, 'bad_request'],
    ['a number beyond all for a picture', '{"data": [1e400]}', 400, 'bad_request'],
    ['a number beyond all for a style', '{"data": ["AAAA", -1e400]}', 400, 'bad_request'],
    ['a web address', { data: ['https://example.com/me.jpg'] }, 400, 'bad_request'],
    ['a file', { data: ['file:///etc/passwd'] }, 400, 'bad_request'],
    ['a poisoned object', '{"__proto__": {"data": ["AAAA"]}}', 400, 'bad_request'],
    ['a poisoned list', '{"data": [{"__proto__": {"x": 1}}]}', 400, 'bad_request'],
    [
      'a poisoned constructor',
      '{"constructor": {"prototype": {"x": 1, "data": ["AAAA"]}}}',
      400,
      'bad_request',
    ],
    ['lists within lists, 100,000 deep', '['.repeat(100_000) + ']'.repeat(100_000), 400, 'bad_request'],
    ['members within members, 100,000 deep', '{"data":'.repeat(100_000), 400, 'bad_request'],
    [
      // V8 hashes what looks like an index by its number.
      '1 MB of keys that collide',
      `{${Array.from({ length: 60_000 }, (_, at) => `"${(at + 1) * 65_536}":0`).join(',')}}`,
      400,
      'bad_request',
    ],
    ['more JSON than allowed', { data: ['A'.repeat(1500 * 1024)] }, 413, 'upload_too_large'],
  ];
  for (const [what, body, status, code] of jsons) {
    test(`/api/predict with ${what} is ${status} ${code}`, async () => {
      assertFailure(await predict(body), status, code);
      assert.equal(({} as Record<string, unknown>).x, undefined);
    });
  }

  test('of a member of /api/predict that comes twice the last one counts', async () => {
    const twice = `{"data": ["AAAA"], "data": ${JSON.stringify([dataUrl(photo)])}}`;
    assert.equal((await predict(twice)).status, 200);
  });

  test('a form where JSON belongs is a bad request', async () => {
    assertFailure(await send('/api/predict', filePart('image', photo)), 400, 'bad_request');
  });

  const forms: [what: string, headers: Record<string, string>, body: string][] = [
    ['without a boundary', { 'content-type': 'multipart/form-data' }, '--x\r\n'],
    [
      'that never ends',
      { 'content-type': 'multipart/form-data; boundary=x' },
      '--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
    ],
    ['of garbage', { 'content-type': 'multipart/form-data; boundary=x' }, 'garbage'.repeat(50)],
    [
      'with an unknown part coding',
      { 'content-type': 'multipart/form-data; boundary=x' },
      '--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\nContent-Transfer-Encoding: rot13\r\n\r\nabc\r\n--x--\r\n',
    ],
  ];
  for (const [what, headers, body] of forms) {
    test(`a form ${what} is a bad request`, async () => {
      const answer = await ask(worker.port, '/v1/images', { headers, body });
      assertFailure(answer, 400, 'bad_request');
    });
  }

  test('too many fields, or too long ones, are a bad request', async () => {
    const many = Array.from({ length: 40 }, (_, at) => ({ name: `f${at}`, content: 'x' }));
    assertFailure(await send('/v1/images', ...many, filePart('image', photo)), 400, 'bad_request');
    assertFailure(
      await send('/v1/images', { name: 'image', content: 'x'.repeat(100_000) }),
      400,
      'bad_request',
    );
  });

  test('broken forms of every kind are refused, and none ends the process', async () => {
    const whole = form(filePart('image', photo), { name: 'style', content: 'ink' });
    for (let round = 0; round < 40; round++) {
      const dice = noise(8, round + 1);
      const body = Buffer.from(whole.body);
      // The head and the tail of the form, where its grammar is.
      const at = round % 2 ? dice.readUInt16LE(0) % 180 : body.length - 1 - (dice.readUInt16LE(0) % 150);
      body[at] = dice[3] ?? 0;
      const { status } = await ask(worker.port, '/v1/images', { headers: whole.headers, body });
      assert.ok([200, 400, 413, 415, 422].includes(status), String(status));
    }
  });

  const part = (disposition: string, content: string, boundary = 'x') =>
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`;
  const multipart = (body: string, boundary = 'x') =>
    ask(worker.port, '/v1/images', {
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: Buffer.from(`${body}--${boundary}--\r\n`, 'latin1'),
    });
  const picture = () => photo.toString('latin1');
  const floods: [what: string, body: () => string, boundary?: string][] = [
    [
      'ten thousand fields beside a good picture',
      () => part('name="a"', '').repeat(10_000) + part('name="image"; filename="a"', picture()),
    ],
    [
      'ten thousand files',
      () =>
        part('name="image"; filename="a"', picture()).repeat(2) +
        part('name="b"; filename="b"', 'x').repeat(10_000),
    ],
    ['a part whose head has 900 KB', () => part(`name="image"; filename="${'a'.repeat(900_000)}"`, '')],
    ['a boundary of 300 bytes and no picture', () => part('name="a"', 'x', 'b'.repeat(300)), 'b'.repeat(300)],
    ['names within names', () => part(`name="a${'[b]'.repeat(10_000)}"`, 'x')],
  ];
  for (const [what, body, boundary] of floods) {
    test(`a form of ${what} is refused`, async () => {
      const { status } = await multipart(body(), boundary);
      assert.ok([400, 413].includes(status), String(status));
    });
  }

  test('what a file is called is nobody’s business: the picture is drawn, and its answer bears none of it', async () => {
    for (const filename of [
      'filename="..\\..\\a.jpg"',
      'filename="../../etc/passwd"',
      `filename="${'x'.repeat(8000)}.jpg"`,
      'filename="\x1b[2J\x9b\u00e9.jpg"',
      'filename="a.jpg"; filename*=UTF-8\'\'%',
      'filename="a.jpg"; filename*=%%%',
    ]) {
      const answer = await multipart(part(`name="image"; ${filename}`, picture()));
      await assertPicture(answer, 'png');
      assert.ok(!/passwd|xxx|\[2J|%%/.test(JSON.stringify(answer.headers)), filename.slice(0, 40));
    }
  });

  test('a compressed body is a bad request', async () => {
    assertFailure(await raw('/v1/images', photo, { 'content-encoding': 'gzip' }), 400, 'bad_request');
  });

  test('an upload that is announced too large is refused before it is sent', async () => {
    const answer = await ask(worker.port, '/v1/images', {
      method: 'POST',
      headers: { 'content-type': 'image/jpeg', 'content-length': String(40 * 1024 ** 2) },
      drive: (request) => request.flushHeaders(),
    });
    assertFailure(answer, 413, 'upload_too_large');
    assert.equal(answer.headers.connection, 'close');
  });

  test('40 MiB that are sent all the same get their answer, and no reset', async () => {
    const answer = await raw('/v1/images', Buffer.alloc(40 * 1024 ** 2, 7)).catch((error: Error) => error);
    assert.ok(!(answer instanceof Error) || /EPIPE|ECONNRESET/.test(answer.message));
    const heard = await firstBytes(
      worker.port,
      'POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 41943040\r\n\r\n',
      Buffer.alloc(3 * 1024 ** 2),
    );
    assert.match(heard, /^HTTP\/1\.1 413 /);
    assert.match(heard, /upload_too_large/);
  });

  test('with Expect: 100-continue nobody is told to continue with what is refused', async () => {
    const interim: number[] = [];
    const expecting = (length: number, path = '/v1/images') =>
      ask(worker.port, path, {
        method: 'POST',
        headers: { 'content-type': 'image/jpeg', 'content-length': String(length), expect: '100-continue' },
        onInterim: (status) => interim.push(status),
        drive: (request) => {
          request.on('continue', () => request.end(photo));
          request.flushHeaders();
        },
      });
    assertFailure(await expecting(40 * 1024 ** 2), 413, 'upload_too_large');
    assert.deepEqual(interim, []);
    await assertPicture(await expecting(photo.length), 'png');
  });

  test('after all this the service goes on', async () => {
    await assertPicture(await raw('/v1/images'), 'png');
    assert.equal(worker.parts.slot.busy, false);
  });
});

/** Writes by hand and gives what was heard until the other side closed. */
function firstBytes(port: number, head: string, body: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(head);
      socket.write(body);
    });
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(heard));
  });
}

describe('GET', () => {
  test('/v1/styles lists what can be drawn', async () => {
    const { styles } = styleListSchema.parse((await ask(worker.port, '/v1/styles')).json());
    assert.deepEqual(
      styles.map(({ id, default: isDefault }) => [id, isDefault]),
      [
        ['meadow', true],
        ['ink', false],
      ],
    );
    const [first] = styles;
    assert.ok(first?.aliases.includes('hayao_64'));
    if (first?.thumbnail_url) assert.equal((await ask(worker.port, first.thumbnail_url)).status, 200);
  });

  test('a result has an ETag, ranges and a long life', async () => {
    const url = String((await raw('/v1/images?format=json')).json().result_url);
    const whole = await ask(worker.port, url);
    await assertPicture(whole, 'png');
    assert.match(String(whole.headers['cache-control']), /immutable/);
    const etag = String(whole.headers.etag);
    assert.equal((await ask(worker.port, url, { headers: { 'if-none-match': etag } })).status, 304);
    const head = await ask(worker.port, url, { method: 'HEAD' });
    assert.deepEqual([head.status, head.body.length], [200, 0]);
    assert.equal(Number(head.headers['content-length']), whole.body.length);
    const part = await ask(worker.port, url, { headers: { range: 'bytes=10-19' } });
    assert.equal(part.status, 206);
    assert.equal(part.headers['content-range'], `bytes 10-19/${whole.body.length}`);
    assert.deepEqual(part.body, whole.body.subarray(10, 20));
    const stale = await ask(worker.port, url, { headers: { range: 'bytes=10-19', 'if-range': '"other"' } });
    assert.equal(stale.status, 200);
    const beyond = await ask(worker.port, url, { headers: { range: 'bytes=99999999-' } });
    assertFailure(beyond, 416, 'range_not_satisfiable');
    assert.equal(beyond.headers['content-range'], `bytes */${whole.body.length}`);
  });

  test('a result that is not there is 404 problem', async () => {
    for (const id of ['x', `vm-test.${'a'.repeat(22)}`, '..%2f..%2fetc%2fpasswd', '%zz'])
      problemSchema.parse(assertFailure(await ask(worker.port, `/v1/results/${id}`), 404, 'not_found'));
  });

  test('health, readiness and liveness answer under all their names', async () => {
    assert.equal(healthSchema.parse((await ask(worker.port, '/health')).json()).model_loaded, true);
    for (const path of ['/ready', '/v2/health/ready'])
      assert.equal(readySchema.parse((await ask(worker.port, path)).json()).status, 'ready');
    for (const path of ['/live', '/v2/health/live']) assert.equal((await ask(worker.port, path)).status, 200);
  });

  test('the fleet can ask for the report and the series', async () => {
    workerReportSchema.parse((await ask(worker.port, '/internal/worker')).json());
    const series = (await ask(worker.port, '/internal/metrics.json')).body.toString('utf8');
    assert.match(series, /toonfleet_worker_requests_total/);
    assert.match(series, /toonfleet_stage_duration_seconds/);
  });

  test('the page and the docs are served too', async () => {
    for (const path of ['/', '/docs', '/openapi.json']) {
      assert.equal((await ask(worker.port, path)).status, 200, path);
      assert.equal((await ask(worker.port, path, { method: 'HEAD' })).body.length, 0);
    }
  });

  test('other methods are 405 with Allow, other paths 404, each in its shape', async () => {
    const get = await ask(worker.port, '/v1/images');
    problemSchema.parse(assertFailure(get, 405, 'method_not_allowed'));
    assert.equal(get.headers.allow, 'POST');
    statusErrorSchema.parse(
      assertFailure(await ask(worker.port, '/api/v1/transform'), 405, 'method_not_allowed'),
    );
    const deleted = await ask(worker.port, '/health', { method: 'DELETE' });
    assert.match(String(deleted.headers.allow), /GET/);
    plainErrorSchema.parse(assertFailure(deleted, 405, 'method_not_allowed'));
    assertFailure(await ask(worker.port, '/', { method: 'PUT', body: 'x' }), 405, 'method_not_allowed');
    assertFailure(await ask(worker.port, '/nothing'), 404, 'not_found');
    problemSchema.parse(assertFailure(await ask(worker.port, '/v1/nothing'), 404, 'not_found'));
    const options = await ask(worker.port, '/transform', { method: 'OPTIONS' });
    assert.deepEqual([options.status, options.headers.allow], [204, 'POST']);
  });

  test('a request id that is not safe to log is replaced', async () => {
    const { headers } = await ask(worker.port, '/live', { headers: { 'x-request-id': 'a b<script>' } });
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/);
  });

  test('a refusal of a whole small form keeps its connection', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const { headers, body } = form(filePart('image', noise(2000)));
    const answer = await ask(worker.port, '/v1/images', { headers, body, agent });
    agent.destroy();
    assert.equal(answer.status, 415);
    assert.notEqual(answer.headers.connection, 'close');
  });
});
