// The contract of a Forwarder, against every engine: http-proxy as in service, and plain node:http to show that the
// contract does not lean on http-proxy.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { targetOf } from '../fleet/ask.ts';
import {
  type Attempt,
  createForwarder,
  type Engine,
  type Forwarder,
  httpProxyEngine,
  type Outcome,
} from './forward.ts';
import { refusedOrigin } from './test-upstream.ts';

const plainEngine: Engine = ({ target, method, path, headers, body }, agent, carry) => {
  const length = body === undefined ? {} : { 'content-length': String(body.length) };
  const { hostname, port } = target;
  const request = http.request({ hostname, port, method, path, headers: { ...headers, ...length }, agent });
  carry(request);
  request.end(body);
};

const engines: [name: string, make: () => Engine][] = [
  ['http-proxy', httpProxyEngine],
  ['node:http', () => plainEngine],
];

/** A TCP server that a test scripts: each request (head and body) is handed over with its socket. */
async function scripted(context: TestContext, script: (socket: Socket, count: number, text: string) => void) {
  const sockets = new Set<Socket>();
  let connections = 0;
  let requests = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (end === -1 || text.length < end + 4 + length) return;
      const whole = text;
      text = '';
      requests += 1;
      script(socket, requests, whole);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { origin: `http://127.0.0.1:${port}`, port, connections: () => connections, sockets };
}

function attemptFor(
  origin: string,
  more: Partial<Attempt> = {},
): Attempt & { readonly freed: () => string[] } {
  const freed: string[] = [];
  return {
    target: targetOf(origin),
    method: 'POST',
    path: '/transform?format=png',
    headers: { 'content-type': 'image/png' },
    body: Buffer.from('picture'),
    patienceMs: 5000,
    maxAnswerBytes: 1000,
    fresh: false,
    onSlotFree: (why) => freed.push(why),
    ...more,
    freed: () => freed,
  };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nhello';
const BUSY = 'HTTP/1.1 503 Busy\r\nX-Admission: busy\r\nContent-Length: 2\r\n\r\n{}';

for (const [name, makeEngine] of engines) {
  const contract = (title: string, run: (context: TestContext, forwarder: Forwarder) => Promise<void>) =>
    test(`${name}: ${title}`, async (context) => {
      const forwarder = createForwarder(makeEngine());
      context.after(() => forwarder.close());
      await run(context, forwarder);
    });
  const outcomeOf = (forwarder: Forwarder, attempt: Attempt) => forwarder.send(attempt).outcome;

  contract(
    'a whole answer is an answer, with the very bytes sent and an exact length',
    async (context, forwarder) => {
      let seen = '';
      const worker = await scripted(context, (socket, _, text) => {
        seen = text;
        socket.write(OK);
      });
      const attempt = attemptFor(worker.origin);
      const outcome = await outcomeOf(forwarder, attempt);
      assert.ok(outcome.kind === 'answer');
      assert.equal(outcome.status, 200);
      assert.equal(outcome.body.toString(), 'hello');
      assert.deepEqual(attempt.freed(), ['ended']);
      assert.match(seen, /^POST \/transform\?format=png HTTP\/1\.1\r\n/);
      assert.match(seen, /\r\ncontent-length: 7\r\n/i);
      assert.match(seen, new RegExp(`\r\nhost: 127\\.0\\.0\\.1:${worker.port}\r\n`, 'i'));
      assert.doesNotMatch(seen, /transfer-encoding|expect|x-forwarded/i);
      assert.ok(seen.endsWith('\r\n\r\npicture'));
    },
  );

  contract('a GET has no body and no length', async (context, forwarder) => {
    let seen = '';
    const worker = await scripted(context, (socket, _, text) => {
      seen = text;
      socket.write(OK);
    });
    await outcomeOf(forwarder, attemptFor(worker.origin, { method: 'GET', body: undefined }));
    assert.doesNotMatch(seen, /content-length|transfer-encoding/i);
  });

  contract('connections are used again, unless a fresh one is asked for', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.write(OK));
    for (let i = 0; i < 3; i++) {
      await outcomeOf(forwarder, attemptFor(worker.origin));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(worker.connections(), 1);
    await outcomeOf(forwarder, attemptFor(worker.origin, { fresh: true }));
    assert.equal(worker.connections(), 2);
  });

  contract('the slot is told free at 102, before the answer', async (context, forwarder) => {
    let answer = () => {};
    const worker = await scripted(context, (socket) => {
      socket.write('HTTP/1.1 102 Processing\r\n\r\n');
      answer = () => socket.write(OK);
    });
    let told: (why: string) => void = () => {};
    const freed = new Promise<string>((resolve) => {
      told = resolve;
    });
    let calls = 0;
    const onSlotFree = (why: string) => {
      calls += 1;
      told(why);
    };
    const exchange = forwarder.send(attemptFor(worker.origin, { onSlotFree }));
    assert.equal(await freed, 'told');
    answer();
    assert.equal((await exchange.outcome).kind, 'answer');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(calls, 1);
  });

  contract(
    'busy and draining are told from other 503s, and the connection stays usable',
    async (context, forwarder) => {
      const answers = [BUSY, BUSY.replace('busy', 'draining'), BUSY.replace('X-Admission', 'X-Other')];
      const worker = await scripted(context, (socket, count) => socket.write(answers[count - 1] ?? OK));
      const kinds: string[] = [];
      for (let i = 0; i < 4; i++) {
        const outcome = await outcomeOf(forwarder, attemptFor(worker.origin));
        kinds.push(outcome.kind === 'answer' ? String(outcome.status) : outcome.kind);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.deepEqual(kinds, ['busy', 'draining', '503', '200']);
      assert.equal(worker.connections(), 1);
    },
  );

  contract('a refused connection is lost while connecting', async (_context, forwarder) => {
    const attempt = attemptFor(await refusedOrigin());
    const outcome = await outcomeOf(forwarder, attempt);
    assert.ok(outcome.kind === 'lost');
    assert.equal(outcome.phase, 'connect');
    assert.deepEqual(attempt.freed(), ['ended']);
  });

  contract('a reset after sending is lost once sent', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.resetAndDestroy());
    const outcome = await outcomeOf(forwarder, attemptFor(worker.origin));
    assert.ok(outcome.kind === 'lost');
    assert.deepEqual([outcome.phase, outcome.reusedSocket], ['sent', false]);
  });

  contract('a close without a word is lost once sent', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.end());
    const outcome = await outcomeOf(forwarder, attemptFor(worker.origin));
    assert.ok(outcome.kind === 'lost');
    assert.equal(outcome.phase, 'sent');
  });

  contract('a reset on a reused connection says so', async (context, forwarder) => {
    const worker = await scripted(context, (socket, count) =>
      count === 1 ? socket.write(OK) : socket.resetAndDestroy(),
    );
    await outcomeOf(forwarder, attemptFor(worker.origin));
    await new Promise((resolve) => setImmediate(resolve));
    const outcome = await outcomeOf(forwarder, attemptFor(worker.origin));
    assert.ok(outcome.kind === 'lost');
    assert.deepEqual([outcome.phase, outcome.reusedSocket], ['sent', true]);
  });

  const cutShort: [title: string, bytes: string, how: 'end' | 'reset'][] = [
    ['half an answer, then a close', OK.slice(0, -2), 'end'],
    ['half an answer, then a reset', OK.slice(0, -2), 'reset'],
    ['half a head', OK.slice(0, 20), 'end'],
    [
      'a chunked answer without its end',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'end',
    ],
  ];
  for (const [title, bytes, how] of cutShort)
    contract(`${title} is never an answer`, async (context, forwarder) => {
      const worker = await scripted(context, (socket) => {
        socket.write(bytes, () =>
          how === 'end' ? socket.end() : setImmediate(() => socket.resetAndDestroy()),
        );
      });
      const attempt = attemptFor(worker.origin);
      assert.equal((await outcomeOf(forwarder, attempt)).kind, 'lost');
      assert.deepEqual(attempt.freed(), ['ended']);
    });

  const rubbish: [title: string, bytes: string][] = [
    ['an answer without length or coding', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello'],
    ['an answer that is too large by its length', 'HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n'],
    [
      'an answer that grows too large',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n${'x'.repeat(1500)}\r\n0\r\n\r\n`,
    ],
    ['a switch of protocols', 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
  ];
  for (const [title, bytes] of rubbish)
    contract(`${title} is rubbish`, async (context, forwarder) => {
      const worker = await scripted(context, (socket) => socket.write(bytes));
      const attempt = attemptFor(worker.origin);
      assert.equal((await outcomeOf(forwarder, attempt)).kind, 'rubbish');
      assert.deepEqual(attempt.freed(), ['ended']);
    });

  contract('what is not HTTP is no answer', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.write('SSH-2.0-OpenSSH\r\n\r\n'));
    assert.notEqual((await outcomeOf(forwarder, attemptFor(worker.origin))).kind, 'answer');
  });

  contract(
    'after the deadline the outcome is a timeout, and the slot is free only when the exchange ends',
    async (context, forwarder) => {
      let answer = () => {};
      const worker = await scripted(context, (socket) => {
        answer = () => socket.write(OK);
      });
      let ended: () => void = () => {};
      const end = new Promise<void>((resolve) => {
        ended = resolve;
      });
      let freed = false;
      const onSlotFree = () => {
        freed = true;
        ended();
      };
      const outcome = await outcomeOf(forwarder, attemptFor(worker.origin, { patienceMs: 30, onSlotFree }));
      assert.equal(outcome.kind, 'timeout');
      assert.equal(freed, false);
      answer();
      await end;
    },
  );

  contract('a cut exchange is lost at once, and its connection is closed', async (context, forwarder) => {
    let arrived: (socket: Socket) => void = () => {};
    const arrival = new Promise<Socket>((resolve) => {
      arrived = resolve;
    });
    const worker = await scripted(context, (socket) => arrived(socket));
    const attempt = attemptFor(worker.origin);
    const exchange = forwarder.send(attempt);
    const socket = await arrival;
    exchange.cut(new Error('its worker is dead'));
    const outcome = await exchange.outcome;
    assert.ok(outcome.kind === 'lost');
    assert.equal(outcome.phase, 'sent');
    await once(socket, 'close');
    assert.deepEqual(attempt.freed(), ['ended']);
  });

  contract('a cut after the end changes nothing', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.write(OK));
    const attempt = attemptFor(worker.origin);
    const exchange = forwarder.send(attempt);
    const outcome: Outcome = await exchange.outcome;
    exchange.cut(new Error('too late'));
    assert.equal(outcome.kind, 'answer');
    assert.deepEqual(attempt.freed(), ['ended']);
    assert.equal((await outcomeOf(forwarder, attemptFor(worker.origin))).kind, 'answer');
    assert.equal(worker.connections(), 1);
  });

  contract('headers that cannot be written give the slot back', async (context, forwarder) => {
    const worker = await scripted(context, (socket) => socket.write(OK));
    const attempt = attemptFor(worker.origin, { headers: { 'x-bad': 'a\nb' } });
    assert.equal((await outcomeOf(forwarder, attempt)).kind, 'rubbish');
    assert.deepEqual(attempt.freed(), ['ended']);
  });

  contract('an answer that comes before the body was read is taken', async (_context, forwarder) => {
    const server = http.createServer((request, response) => {
      response.writeHead(503, { 'x-admission': 'busy', 'content-length': 0 }).end();
      request.resume();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const body = Buffer.alloc(8 * 1024 * 1024);
    assert.equal((await outcomeOf(forwarder, attemptFor(`http://127.0.0.1:${port}`, { body }))).kind, 'busy');
    server.closeAllConnections();
    server.close();
  });
}
