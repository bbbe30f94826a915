// A real server on loopback with ranges, validators and every kind of mischief.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { ModelFault } from '../entries/fault.ts';
import { download, type Order } from './download.ts';

const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, at) => (at * 31) % 251));
const digest = (of: Buffer) => createHash('sha256').update(of).digest('hex');

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(
  t: TestContext,
  handler: Handler,
): Promise<{ url: string; port: number; asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/weights.onnx`, port, asked };
}

/** Gives the file from where it is asked for, as RFC 9110 has it. */
function ranged(file: Buffer, etag: string, cutAfter = Number.POSITIVE_INFINITY): Handler {
  return ({ headers }, response) => {
    const wanted = /^bytes=(\d+)-$/.exec(headers.range ?? '');
    const same = headers['if-range'] === undefined || headers['if-range'] === etag;
    const from = wanted && same ? Number(wanted[1]) : 0;
    const rest = file.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      etag,
      'content-length': rest.length,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` } : {}),
    });
    if (rest.length <= cutAfter) response.end(rest);
    else response.write(rest.subarray(0, cutAfter), () => response.destroy());
  };
}

async function order(
  t: TestContext,
  urls: string[],
  changes: Partial<Order> = {},
): Promise<Order & { said: string[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-pull-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const said: string[] = [];
  return {
    urls,
    to: join(dir, 'weights'),
    mostBytes: 1_000_000,
    sha256: undefined,
    reach: { proxy: '', patienceMs: 5000 },
    pauseMs: 1,
    progress: () => {},
    say: (sentence) => void said.push(sentence),
    said,
    ...changes,
  };
}

test('a file is brought whole, with progress, and nothing is left beside it', async (t) => {
  const { url } = await serve(t, ranged(content, '"1"'));
  const seen: [number, number | undefined][] = [];
  const wanted = await order(t, [url], { progress: (...at) => void seen.push(at), sha256: digest(content) });
  assert.equal(await download(wanted), digest(content));
  assert.ok(readFileSync(wanted.to).equals(content));
  assert.ok(!existsSync(`${wanted.to}.part`) && !existsSync(`${wanted.to}.part.json`));
  assert.deepEqual(seen.at(-1), [content.length, content.length]);
});

test('after cuts it goes on where it stopped, and the file is right', async (t) => {
  const { url, asked } = await serve(t, ranged(content, '"1"', 70_000));
  const wanted = await order(t, [url]);
  assert.equal(await download(wanted), digest(content));
  assert.ok(asked.length >= 4, `${asked.length} requests`);
  assert.equal(asked[1]?.headers['if-range'], '"1"');
});

test('what another pull left is gone on with when the server still has it, and thrown away when it has not', async (t) => {
  const { url, asked } = await serve(t, ranged(content, '"new"'));
  for (const [validator, status] of [
    ['"new"', 'resumed'],
    ['"old"', 'begun again'],
  ]) {
    const wanted = await order(t, [url]);
    await writeFile(`${wanted.to}.part`, status === 'resumed' ? content.subarray(0, 1000) : 'rubbish');
    await writeFile(`${wanted.to}.part.json`, JSON.stringify({ url, validator }));
    assert.equal(await download(wanted), digest(content), status);
    assert.match(asked.at(-1)?.headers.range ?? '', /^bytes=\d+-$/);
  }
});

test('a part without a strong validator is never gone on with', async (t) => {
  const { url, asked } = await serve(t, ranged(content, 'W/"1"', 200_000));
  const wanted = await order(t, [url]);
  await assert.rejects(download(wanted), ModelFault);
  assert.ok(asked.every(({ headers }) => headers.range === undefined));
  assert.ok(!existsSync(wanted.to));
});

test('wrong bytes are thrown away, and the next place is asked', async (t) => {
  const wrong = await serve(t, ranged(Buffer.from(content).fill(7, 0, 10), '"1"'));
  const right = await serve(t, ranged(content, '"1"'));
  const wanted = await order(t, [wrong.url, right.url], { sha256: digest(content) });
  assert.equal(await download(wanted), digest(content));
  assert.match(wanted.said.join(), /SHA-256 is [0-9a-f]{64}, not/);

  const alone = await order(t, [wrong.url], { sha256: digest(content) });
  await assert.rejects(download(alone), /SHA-256/);
  assert.ok(!existsSync(alone.to) && !existsSync(`${alone.to}.part`));
});

const refusals: [name: string, handler: Handler, words: RegExp][] = [
  [
    'a file that is too large by its own word',
    (_, r) => r.writeHead(200, { 'content-length': 5e9 }).write('x'),
    /5000000000 bytes large/,
  ],
  [
    'a file that is too large without a word',
    (_, r) => void r.writeHead(200, { 'transfer-encoding': 'chunked' }).end(Buffer.alloc(2_000_000)),
    /larger than 1000000/,
  ],
  ['a page that is not there', (_, r) => void r.writeHead(404).end('no'), /answers 404/],
  [
    'redirects without end',
    (q, r) => void r.writeHead(302, { location: q.url }).end(),
    /redirects more than/,
  ],
  [
    'a redirect to a file of this machine',
    (_, r) => void r.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    /no web address/,
  ],
];
for (const [name, handler, words] of refusals) {
  test(`${name} is refused in words`, async (t) => {
    const { url } = await serve(t, handler);
    await assert.rejects(
      download(await order(t, [url])),
      (error) => error instanceof ModelFault && words.test(error.message),
    );
  });
}

test('a place where nobody listens is named', async (t) => {
  const { url } = await serve(t, () => {});
  const gone = url.replace(/:\d+/, ':1');
  await assert.rejects(download(await order(t, [gone])), /nobody listens there/);
});

test('a server that falls silent is given up', async (t) => {
  const { url } = await serve(t, () => {});
  const wanted = await order(t, [url], { reach: { proxy: '', patienceMs: 20 } });
  await assert.rejects(download(wanted), /nothing came for/);
});

test('a redirect is followed, and a proxy is asked for the whole address with its own credentials', async (t) => {
  const { url } = await serve(t, ranged(content, '"1"'));
  const front = await serve(t, (_, response) => void response.writeHead(302, { location: url }).end());
  assert.equal(await download(await order(t, [front.url])), digest(content));

  const proxy = await serve(t, (asked, response) => {
    request(asked.url ?? '', (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    }).end();
  });
  const reach = { proxy: `http://me:secret@127.0.0.1:${proxy.port}`, patienceMs: 5000 };
  assert.equal(await download(await order(t, [url], { reach })), digest(content));
  assert.equal(proxy.asked[0]?.url, url);
  assert.equal(proxy.asked[0]?.headers['proxy-authorization'], `Basic ${btoa('me:secret')}`);
});

test('HTTPS goes through a tunnel of the proxy, and a proxy that refuses it is named', async (t) => {
  const tunnels: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (asked: IncomingMessage, socket: Socket) => {
    tunnels.push(asked.url ?? '');
    t.after(() => socket.destroy());
    if (tunnels.length > 1) return void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    // What comes through first has to be the beginning of TLS.
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.once('data', (first) => {
      tunnels.push(`TLS ${first[0] === 22}`);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  const reach = { proxy: `http://127.0.0.1:${port}`, patienceMs: 5000 };
  const wanted = await order(t, ['https://weights.invalid/file'], { reach });
  await assert.rejects(download(wanted), /proxy answers 403 when asked for weights\.invalid:443/);
  assert.deepEqual(tunnels.slice(0, 2), ['weights.invalid:443', 'TLS true']);
});
