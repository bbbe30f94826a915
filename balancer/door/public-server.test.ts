// The public port on the wire: what llhttp lets through, what it does not, and that no answer is lost.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test, { type TestContext } from 'node:test';
import { picture, rawExchange, startBalancer, startUpstream } from '../passage/test-upstream.ts';
import { createPublicServer, HTTP_SETTINGS, listen } from './public-server.ts';

async function front(context: TestContext, env: Record<string, string> = {}) {
  const upstream = await startUpstream(context);
  return { upstream, balancer: await startBalancer(context, [upstream], env) };
}
const CLOSE = 'Connection: close\r\n';

const cases: { name: string; bytes: string; status: number }[] = [
  {
    name: 'a chunked DELETE with a request hidden in its body',
    bytes: 'DELETE /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n',
    status: 400,
  },
  {
    name: 'a chunked OPTIONS',
    bytes: 'OPTIONS /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 400,
  },
  {
    name: 'a length and a coding',
    bytes:
      'POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 400,
  },
  {
    name: 'two lengths',
    bytes: 'POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd',
    status: 400,
  },
  {
    name: 'gzip, chunked',
    bytes: 'POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    status: 501,
  },
  {
    name: 'chunked over HTTP/1.0',
    bytes: 'POST /upload HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 400,
  },
  { name: 'two Hosts', bytes: `GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n${CLOSE}\r\n`, status: 400 },
  { name: 'no Host', bytes: `GET / HTTP/1.1\r\n${CLOSE}\r\n`, status: 400 },
  { name: 'an absolute target', bytes: `GET http://x/ HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 400 },
  { name: 'a doubled slash', bytes: `GET //x HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 400 },
  { name: 'encoded dots', bytes: `GET /v1/%2e%2e/styles HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 404 },
  { name: 'HTTP/2.0 in plain text', bytes: `GET / HTTP/2.0\r\nHost: x\r\n${CLOSE}\r\n`, status: 505 },
  { name: 'the preface of HTTP/2', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
  { name: 'CONNECT', bytes: 'CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n', status: 405 },
  { name: 'TRACE', bytes: `TRACE / HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 405 },
  { name: 'a lower-case method', bytes: 'get / HTTP/1.1\r\nHost: x\r\n\r\n', status: 400 },
  { name: 'an obsolete fold', bytes: 'GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n', status: 400 },
  { name: 'a space before a colon', bytes: 'GET / HTTP/1.1\r\nHost : x\r\n\r\n', status: 400 },
  { name: 'a NUL', bytes: 'GET / HTTP/1.1\r\nHost: x\0\r\n\r\n', status: 400 },
  {
    name: 'a bad chunk length',
    bytes: 'POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n',
    status: 400,
  },
  {
    name: 'another expectation',
    bytes: 'POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd',
    status: 417,
  },
  {
    name: 'headers of 9 KiB',
    bytes: `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(9 * 1024)}\r\n\r\n`,
    status: 431,
  },
  {
    name: '101 header fields',
    bytes: `GET / HTTP/1.1\r\n${CLOSE}${'A: b\r\n'.repeat(100)}\r\n`,
    status: 431,
  },
  {
    name: '100 header fields',
    bytes: `GET / HTTP/1.1\r\nHost: x\r\n${CLOSE}${'A: b\r\n'.repeat(98)}\r\n`,
    status: 200,
  },
  {
    name: 'an upgrade',
    bytes: `GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n`,
    status: 200,
  },
  {
    name: 'a GET with a body',
    bytes: `GET / HTTP/1.1\r\nHost: x\r\n${CLOSE}Content-Length: 3\r\n\r\nabc`,
    status: 200,
  },
  { name: 'OPTIONS of the server', bytes: `OPTIONS * HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 204 },
  {
    name: 'OPTIONS of a path',
    bytes: `OPTIONS /upload HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n${CLOSE}\r\n`,
    status: 204,
  },
  { name: 'HEAD of the page', bytes: `HEAD / HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`, status: 200 },
];
test('on the wire each fault has its status, the connection closes, and no worker sees a byte', async (context) => {
  const { upstream, balancer } = await front(context);
  for (const { name, bytes, status } of cases) {
    const answer = await rawExchange(balancer.port, bytes);
    assert.match(
      answer,
      new RegExp(`^HTTP/1\\.1 ${status} `),
      `${name}: ${JSON.stringify(answer.slice(0, 200))}`,
    );
    assert.equal(answer.match(/^HTTP\/1\.1 /gm)?.length, 1, `${name}: one answer`);
    assert.doesNotMatch(answer, /access-control-allow-origin|x-powered-by|node_modules/i, name);
    if (status === 405) assert.match(answer, /\r\nallow: /i, name);
  }
  assert.equal(upstream.arrivals.length, 0);
});

test('a Trailer header crashes nobody and reaches nobody', async (context) => {
  const { upstream, balancer } = await front(context);
  const photo = picture();
  const answer = await rawExchange(
    balancer.port,
    Buffer.concat([
      Buffer.from(
        `POST /transform HTTP/1.1\r\nHost: x\r\n${CLOSE}Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n${photo.length.toString(16)}\r\n`,
      ),
      photo,
      Buffer.from('\r\n0\r\nX-A: b\r\n\r\n'),
    ]),
  );
  assert.match(answer, /^HTTP\/1\.1 200 /);
  assert.match(
    await rawExchange(balancer.port, `GET / HTTP/1.1\r\nHost: x\r\nTrailer: X-A\r\n${CLOSE}\r\n`),
    /^HTTP\/1\.1 200 /,
  );
  const { headers, body } = await upstream.arrived(1);
  assert.equal(headers.trailer, undefined);
  assert.equal(headers['transfer-encoding'], undefined);
  assert.ok(body.equals(photo));
});

test('headers named in Connection cannot be taken away, and hop-by-hop ones stay behind', async (context) => {
  const { upstream, balancer } = await front(context);
  const photo = picture();
  await rawExchange(
    balancer.port,
    Buffer.concat([
      Buffer.from(
        `POST /transform HTTP/1.1\r\nHost: x\r\nConnection: close, X-Attempt, X-Request-Id\r\nTE: trailers\r\nProxy-Authorization: x\r\nX-Attempt: 9\r\nX-Node-Key: guess\r\nContent-Length: ${photo.length}\r\n\r\n`,
      ),
      photo,
    ]),
  );
  const { headers } = await upstream.arrived(1);
  assert.equal(headers['x-attempt'], '1');
  assert.ok(headers['x-request-id']);
  for (const name of ['te', 'proxy-authorization', 'x-node-key'])
    assert.equal(headers[name], undefined, name);
});

test('Expect: 100-continue is answered before the body is sent', async (context) => {
  const { balancer } = await front(context);
  const photo = picture();
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.write(
    `POST /transform HTTP/1.1\r\nHost: x\r\n${CLOSE}Expect: 100-continue\r\nContent-Length: ${photo.length}\r\n\r\n`,
  );
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  socket.write(photo);
  const [second] = (await once(socket, 'data')) as [Buffer];
  assert.match(second.toString('latin1'), /^HTTP\/1\.1 200 /);
  socket.destroy();
});

test('a refused expectation gets no 100, whatever its size', async (context) => {
  const { balancer } = await front(context);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.write(
    'POST /transform HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n',
  );
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 413 /);
  socket.destroy();
});

test('an upload that is refused early still gets its whole answer, though the client sends on', async (context) => {
  const { balancer } = await front(context);
  const socket = net.connect(balancer.port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write('POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: 42000000\r\n\r\n');
  for (let sent = 0; sent < 42 && !socket.destroyed && socket.writable; sent++)
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.write(Buffer.alloc(1_000_000), () => resolve());
    });
  if (!socket.closed) await once(socket, 'close');
  const answer = Buffer.concat(chunks).toString();
  assert.match(answer, /^HTTP\/1\.1 413 /);
  assert.match(answer, /"code":"upload_too_large"/);
});

test('pipelined requests are answered in order, each with its own id', async (context) => {
  const { balancer } = await front(context);
  const requests = Array.from(
    { length: 100 },
    (_, i) => `GET /live HTTP/1.1\r\nHost: x\r\nX-Request-Id: r${i}\r\n${i === 99 ? CLOSE : ''}\r\n`,
  );
  const answer = await rawExchange(balancer.port, requests.join(''));
  assert.deepEqual(
    [...answer.matchAll(/x-request-id: (r\d+)/g)].map(([, id]) => id),
    requests.map((_, i) => `r${i}`),
  );
});

test('rubbish behind a request is never answered in its place', async (context) => {
  const { upstream, balancer } = await front(context);
  upstream.behaviour = () => {};
  const photo = picture();
  const answer = await rawExchange(
    balancer.port,
    Buffer.concat([
      Buffer.from(`POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${photo.length}\r\n\r\n`),
      photo,
      Buffer.from('rubbish\r\n\r\n'),
    ]),
  );
  assert.equal(answer, '');
});

test('a request id that is unsafe to log is replaced', async (context) => {
  const { balancer } = await front(context);
  const answer = await rawExchange(
    balancer.port,
    `GET /live HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b<script>\r\n${CLOSE}\r\n`,
  );
  assert.match(answer, /x-request-id: [0-9a-f-]{36}\r\n/);
});

test('idle connections and long-lived ones are told when they end', async (context) => {
  const { balancer } = await front(context);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.write('GET /live HTTP/1.1\r\nHost: x\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /\r\nkeep-alive: timeout=10, max=1000\r\n/i);
  socket.destroy();
});

test('the settings are the strict ones', () => {
  assert.deepEqual(HTTP_SETTINGS, {
    headersTimeout: 10_000,
    requestTimeout: 0,
    connectionsCheckingInterval: 1000,
    maxHeaderSize: 8192,
    keepAliveTimeout: 10_000,
    requireHostHeader: false,
    insecureHTTPParser: false,
  });
});

/** A door for a few, and idle connections to it from an address of this machine. */
async function smallDoor(context: TestContext, most: number, isProxy?: (address: string) => boolean) {
  const { journey } = await startBalancer(context, [await startUpstream(context)]);
  const door = createPublicServer(journey, { most, ...(isProxy ? { isProxy } : {}) });
  const { port } = await door.listen(0, '127.0.0.1');
  context.after(() => {
    door.stopAccepting();
    door.closeAll();
  });
  const open = async (localAddress: string) => {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress });
    context.after(() => socket.destroy());
    socket.on('error', () => {}).resume();
    await once(socket, 'connect');
    return socket;
  };
  /** Whether a request by this connection is answered. */
  const answered = async (socket: net.Socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.write(`GET /live HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`);
    if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
    return text.startsWith('HTTP/1.1 200 ');
  };
  return { open, answered };
}

test('whoever holds all connections and says nothing makes room for others', async (context) => {
  const { open, answered } = await smallDoor(context, 20);
  const crowd = await Promise.all(Array.from({ length: 60 }, () => open('127.0.0.1')));
  while (crowd.filter(({ closed }) => closed).length < 40)
    await new Promise((resolve) => setImmediate(resolve));
  for (let each = 0; each < 5; each++) assert.ok(await answered(await open('127.0.0.2')));
  // Those of the crowd that are left are served too.
  const left = crowd.filter(({ closed }) => !closed).at(-1);
  assert.ok(left && (await answered(left)));
});

test('a connection with a request under way is never taken for others', async (context) => {
  const { open, answered } = await smallDoor(context, 4);
  const uploads = await Promise.all(Array.from({ length: 4 }, () => open('127.0.0.1')));
  for (const upload of uploads) {
    upload.write(
      'POST /transform HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n',
    );
    await once(upload, 'data');
  }
  assert.equal(await answered(await open('127.0.0.2')), false);
  assert.ok(uploads.every(({ closed }) => !closed));
  uploads[0]?.destroy();
  let answers = false;
  while (!answers) answers = await answered(await open('127.0.0.2'));
});

test('a port that is taken is named with its setting', async (context) => {
  const taken = net.createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  context.after(() => taken.close());
  const { port } = taken.address() as net.AddressInfo;
  await assert.rejects(
    listen(net.createServer(), port, '127.0.0.1', 'balancer.admin_port'),
    new RegExp(
      `balancer\\.admin_port: port ${port} on 127\\.0\\.0\\.1 is in use.*TOONFLEET_BALANCER__ADMIN_PORT`,
    ),
  );
});
