// Hostile and odd clients on real sockets: each payload has one strict answer or none, and no worker sees a byte of it.
// What a pure module judges stands in `head.test.ts` and `form.test.ts`; here is what only a socket shows.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test, { type TestContext } from 'node:test';
import { notHttp, wrongAnswers } from '../../ops/process/test-wire.ts';
import { type Arrival, echo, picture, rawExchange, startBalancer, startUpstream } from './test-upstream.ts';

async function front(context: TestContext, env: Record<string, string> = {}) {
  const upstream = await startUpstream(context);
  return { upstream, balancer: await startBalancer(context, [upstream], env) };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

const post = (...lines: string[]) => `POST /upload HTTP/1.1\r\nHost: x\r\n${lines.join('\r\n')}\r\n\r\n`;
const get = (target: string, ...lines: string[]) =>
  `GET ${target} HTTP/1.1\r\n${['Host: x', 'Connection: close', ...lines].join('\r\n')}\r\n\r\n`;

/** Payload → status. What is refused also ends the connection, so that nothing behind it is taken for a request. */
const refused: readonly (readonly [name: string, bytes: string, status: number])[] = [
  ...notHttp,
  ['a chunked HEAD', 'HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  ['a chunked GET', 'GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  ['2000 tiny headers', `GET / HTTP/1.1\r\nHost: x\r\n${'a:\r\n'.repeat(2000)}\r\n`, 431],
  ['HTTP/0.9', 'GET /\r\n\r\n', 505],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: x\r\n\r\n', 400],
  ['a Host with credentials', 'GET / HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n', 400],
  ['a Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n', 400],
  ['a Host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
  ['a Host of 300 bytes', `GET / HTTP/1.1\r\nHost: ${'a'.repeat(300)}\r\nConnection: close\r\n\r\n`, 400],
  ['an authority as target', get('x:80'), 400],
  ['a backslash in the target', get('/\\x'), 400],
  ['high bytes in the target', get('/\xe9'), 400],
  ['a fragment in the target', get('/#a'), 400],
  ['a known method that is not ours', 'DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405],
  ['1 GB announced', post('Content-Length: 1000000000'), 413],
  ['1 GB announced with an expectation', post('Content-Length: 1000000000', 'Expect: 100-continue'), 413],
];

test('each malformed payload has its strict answer, once, and the connection ends', async (context) => {
  const { upstream, balancer } = await front(context);
  assert.deepEqual(await wrongAnswers(balancer.port, refused), []);
  assert.equal(upstream.arrivals.length, 0);
});

test('a hundred cookies, odd header names and a prototype in a header harm nobody', async (context) => {
  const { balancer } = await front(context);
  for (const lines of [
    [`Cookie: ${Array.from({ length: 100 }, (_, i) => `c${i}=1`).join('; ')}`],
    ['under_score: 1', '__proto__: x', 'constructor: y', 'X-Request-Id: fine-1'],
  ]) {
    const answer = await rawExchange(balancer.port, get('/live', ...lines));
    assert.match(answer, /^HTTP\/1\.1 200 /);
  }
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

test('nothing that a client invents reaches a worker: its headers are ours by name', async (context) => {
  const { upstream, balancer } = await front(context);
  const body = picture('1');
  const answer = await rawExchange(
    balancer.port,
    Buffer.concat([
      Buffer.from(
        `POST /v1/images HTTP/1.1\r\nHost: x\r\nConnection: close, X-Attempt\r\nContent-Length: ${body.length}\r\n` +
          'X_Node_Key: a\r\nX-Node-Key: a\r\nX-Attempt: 9\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1\r\nCookie: a=b\r\n' +
          'Authorization: Bearer x\r\nTE: trailers\r\nKeep-Alive: 1\r\nX-Upload-Field: file\r\n\r\n',
      ),
      body,
    ]),
  );
  assert.match(answer, /^HTTP\/1\.1 200 /);
  const { headers } = await upstream.arrived(1);
  assert.equal(headers['x-attempt'], '1');
  for (const name of [
    'x_node_key',
    'x-node-key',
    'x-forwarded-for',
    'forwarded',
    'cookie',
    'authorization',
    'te',
    'keep-alive',
    'x-upload-field',
    'transfer-encoding',
  ])
    assert.equal(headers[name], undefined, name);
});

test('a hundred pipelined requests are answered in order, each its own', async (context) => {
  const { balancer } = await front(context);
  const requests = Array.from(
    { length: 100 },
    (_, i) =>
      `GET /live HTTP/1.1\r\nHost: x\r\nX-Request-Id: turn-${i}\r\n${i === 99 ? 'Connection: close\r\n' : ''}\r\n`,
  );
  const answer = await rawExchange(balancer.port, requests.join(''));
  const ids = [...answer.matchAll(/^x-request-id: turn-(\d+)/gim)].map(([, id]) => Number(id));
  assert.deepEqual(
    ids,
    Array.from({ length: 100 }, (_, i) => i),
  );
});

test('a client that closes its sending side counts as gone: nobody can tell it from one that left', async (context) => {
  const { upstream, balancer } = await front(context);
  const held: Arrival[] = [];
  upstream.behaviour = (arrival) => held.push(arrival);
  const whole = Buffer.concat([
    Buffer.from(`POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${picture().length}\r\n\r\n`),
    picture(),
  ]);
  const answer = rawExchange(balancer.port, whole, true);
  await upstream.arrived(1);
  assert.equal(await answer, '');
  held.forEach(echo);
  while (balancer.journey.underWay() > 0) await turn();
  for (const { taken } of balancer.pool.upstreams()) assert.equal(taken, 0);
});

test('clients that leave in any phase, by the dozen, leave no slot, no memory, no place in line and no connection', async (context) => {
  const { upstream, balancer } = await front(context);
  const held: Arrival[] = [];
  upstream.behaviour = (arrival) => held.push(arrival);
  const head = (length: number) => `POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;
  const open = async (bytes: Buffer) => {
    const socket = net.connect(balancer.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(bytes);
    return socket;
  };
  const whole = Buffer.concat([Buffer.from(head(picture('1').length)), picture('1')]);
  const running = await open(whole);
  await upstream.arrived(1);
  const queued = await Promise.all(Array.from({ length: 25 }, () => open(whole)));
  while (balancer.dispatch.queued < 25) await turn();
  const uploading = await Promise.all(
    Array.from({ length: 25 }, () => open(Buffer.concat([Buffer.from(head(100_000)), Buffer.alloc(50_000)]))),
  );
  while (balancer.journey.underWay() < 51) await turn();
  for (const socket of [running, ...queued, ...uploading]) socket.resetAndDestroy();
  while (balancer.dispatch.queued > 0 || balancer.journey.underWay() > 1) await turn();
  // The one that ran keeps its slot until its worker has done with it.
  assert.equal(
    [...balancer.pool.upstreams()].reduce((sum, { taken }) => sum + taken, 0),
    1,
  );
  held.forEach(echo);
  while (balancer.journey.underWay() > 0 || balancer.budget.held > 0) await turn();
  while ((await balancer.publicServer.connections()) > 0) await turn();
  assert.equal(
    [...balancer.pool.upstreams()].reduce((sum, { taken }) => sum + taken, 0),
    0,
  );
  assert.equal(upstream.arrivals.length, 1);
});

test('a client that asks for much, reads nothing and leaves gives back the memory of all its answers', async (context) => {
  const { upstream, balancer } = await front(context);
  upstream.behaviour = ({ response }) => {
    const body = picture(Buffer.alloc(4 * 1024 * 1024));
    response.writeHead(200, { 'content-type': 'image/png', 'content-length': body.length }).end(body);
  };
  const request = Buffer.concat([
    Buffer.from(`POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${picture().length}\r\n\r\n`),
    picture(),
  ]);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: 6 }, () => request)));
  await upstream.arrived(6);
  while (balancer.journey.underWay() > 0) await turn();
  // The kernel has the first one or two; the others stand behind it, whole.
  assert.ok(balancer.budget.held > 4 * 1024 * 1024);
  assert.equal((await fetch(`${balancer.url}/live`)).status, 200);
  socket.destroy();
  while (balancer.budget.held > 0) await turn();
});

test('a small chunk extension ends at the door: the worker gets the picture’s bytes and their length, no chunks', async (context) => {
  const { upstream, balancer } = await front(context);
  const photo = picture('with a tail');
  const parts = [photo.subarray(0, 7), photo.subarray(7)];
  const answer = await rawExchange(
    balancer.port,
    Buffer.concat([
      Buffer.from(
        'POST /v1/images HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n',
      ),
      ...parts.flatMap((part) => [
        Buffer.from(`${part.length.toString(16)};signature="a;b";Content-Length=9\r\n`),
        part,
        Buffer.from('\r\n'),
      ]),
      Buffer.from('0;last\r\n\r\n'),
    ]),
  );
  assert.match(answer, /^HTTP\/1\.1 200 /);
  const { body, headers, rawHeaders } = await upstream.arrived(1);
  assert.deepEqual(body, photo);
  assert.equal(headers['content-length'], String(photo.length));
  assert.equal(headers['transfer-encoding'], undefined);
  assert.ok(!rawHeaders.join().includes('signature'));
});

test('each request is one line of the log, whatever its target, its headers and its file are called', async (context) => {
  const { balancer } = await front(context);
  const nasty = '\x1b[2J\x9b2J\x7f';
  const form =
    `--b\r\nContent-Disposition: form-data; name="file"; filename="${nasty}\x85${'x'.repeat(3000)}"\r\n\r\n` +
    `${picture().toString('latin1')}\r\n--b--\r\n`;
  const requests = [
    get(`/${nasty}`),
    get(`/live?${nasty}`),
    get('/%0d%0a%1b%5b2J'),
    get(`/${'x'.repeat(7000)}`),
    get('/live', `User-Agent: ${nasty}`, `Referer: ${nasty}`, `X-Request-Id: ${nasty}`),
    post(
      'Connection: close',
      'Content-Type: multipart/form-data; boundary=b',
      `Content-Length: ${form.length}`,
    ) + form,
  ];
  for (const request of requests) {
    const from = balancer.lines.length;
    const answer = await rawExchange(balancer.port, Buffer.from(request, 'latin1'));
    assert.match(answer, /^HTTP\/1\.1 \d{3} /);
    // llhttp refuses control characters in a target or a header, and then there is no request to tell of.
    const isRequest = !/^x-request-id/im.test(answer) || !/"code":"bad_request"/.test(answer);
    if (isRequest) await balancer.logged(({ message }) => message === 'request', from);
    const lines = balancer.lines.slice(from).filter(({ message }) => message === 'request');
    assert.ok(lines.length <= 1, `${lines.length} lines`);
    // What could move a cursor at all came from a client's text; nothing of it is told but a bounded path.
    const told = JSON.stringify(lines);
    assert.doesNotMatch(told, /\[2J/, told.slice(0, 300));
    assert.ok(told.length < 2000);
  }
  assert.equal((await fetch(`${balancer.url}/live`)).status, 200);
});

test('nothing is served but what is published: no metrics, no inner path, no source and no file of the machine', async (context) => {
  const { upstream, balancer } = await front(context);
  for (const path of [
    '/metrics',
    '/internal/stats',
    '/admin/v1/status',
    '/v1/node',
    '/.env',
    '/.git/config',
    '/package.json',
    '/page.js.map',
    '/balancer/main.ts',
    '/..;/etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/v1/results/%2e%2e%2fetc%2fpasswd',
    `/v1/results/${'a'.repeat(5000)}`,
    '/v1/results/%00',
  ]) {
    const answer = await rawExchange(balancer.port, get(path));
    assert.match(answer, /^HTTP\/1\.1 404 /, path);
    assert.doesNotMatch(answer, /x-powered-by|node_modules|\.ts:\d|root:/i, path);
  }
  assert.equal(upstream.arrivals.length, 0);
});
