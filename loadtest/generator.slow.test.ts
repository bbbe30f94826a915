import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { Target } from './exchange.ts';
import { Generator, type GeneratorOptions, type StepSpec } from './generator.ts';
import { NodeWatch } from './nodes.ts';
import { drawPhotos } from './pictures.ts';

const photos = await drawPhotos(1, [{ width: 64, height: 64 }]);
const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#abc' } })
  .png()
  .toBuffer();

type Answer = (response: http.ServerResponse, number: number, request: http.IncomingMessage) => void;

const draw = (response: http.ServerResponse, headers: Record<string, string> = {}) =>
  response.writeHead(200, { 'content-type': 'image/png', ...headers }).end(picture);

/** A server that reads whole uploads and then answers as told. */
async function server(t: TestContext, answer: Answer): Promise<URL> {
  let number = 0;
  const listening = http.createServer((request, response) => {
    request.resume().on('end', () => answer(response, number++, request));
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    listening.close();
    listening.closeAllConnections();
  });
  return new URL(`http://127.0.0.1:${(listening.address() as AddressInfo).port}`);
}

function generator(t: TestContext, url: URL, changes: Partial<GeneratorOptions> = {}): Generator {
  const target = new Target({ url, timeoutMs: 5000 });
  t.after(() => target.close());
  return new Generator({
    target,
    path: '/v1/images',
    photos,
    styles: [],
    fields: {},
    maxSide: 1024,
    seed: 1,
    firstSerial: 1,
    arrivals: 'constant',
    slo: { p95_ms: 3000, max_error_rate: 0.01, max_cpu: null, max_worker_memory_mb: null },
    nodes: new NodeWatch({ agents: [], admin: undefined }),
    maxLateMs: 200,
    allowCache: false,
    checkEveryMs: 100,
    drainMs: 5000,
    onProgress: () => {},
    ...changes,
  });
}

const open = (rate: number, seconds: number): StepSpec => ({
  label: 'test',
  purpose: 'hold',
  load: { model: 'open', stretches: [{ rate, seconds }] },
  grade: 'slo',
  early: null,
});
const calm = new AbortController().signal;

test('a stall of one second shows in every picture that was due in it, although nobody could send', async (t) => {
  // The server answers nothing between the 20th picture and a second later; then it answers all at once.
  const held: http.ServerResponse[] = [];
  let stalled = false;
  const url = await server(t, (response, number) => {
    if (number === 20) {
      stalled = true;
      setTimeout(() => {
        stalled = false;
        for (const waiting of held) draw(waiting);
      }, 1000);
    }
    if (stalled) held.push(response);
    else draw(response);
  });
  const step = await generator(t, url).run(open(50, 2), calm);
  assert.equal(step.ok, step.requests);
  // Half of the two seconds were stalled: about half of the pictures waited, evenly from 1000 ms down to 0.
  assert.ok((step.latency_ms?.p99 ?? 0) > 850, `p99 ${step.latency_ms?.p99} ms`);
  assert.ok((step.latency_ms?.p90 ?? 0) > 650, `p90 ${step.latency_ms?.p90} ms`);
  assert.ok((step.latency_ms?.p50 ?? 0) < 500, `p50 ${step.latency_ms?.p50} ms`);
});

test('a generator that is held up makes its step invalid and says so', async (t) => {
  const url = await server(t, (response) => draw(response));
  const blocked = generator(t, url, { maxLateMs: 50 });
  const running = blocked.run(open(50, 1), calm);
  setTimeout(() => {
    const until = performance.now() + 300;
    while (performance.now() < until);
  }, 200);
  const step = await running;
  assert.equal(step.verdict, 'invalid');
  assert.match(step.why, /generator was late/);
  assert.ok(step.generator.late_p99_ms > 50);
});

test('answers from a cache make a step invalid unless they were asked for', async (t) => {
  const url = await server(t, (response) => draw(response, { 'x-cache': 'hit' }));
  const refused = await generator(t, url).run(open(20, 0.5), calm);
  assert.equal(refused.verdict, 'invalid');
  assert.match(refused.why, /came from a cache/);
  const allowed = await generator(t, url, { allowCache: true }).run(open(20, 0.5), calm);
  assert.equal(allowed.verdict, 'met');
});

test('every request has bytes of its own and an exact length', async (t) => {
  const bodies = new Set<string>();
  let wrongLength = 0;
  const url = await server(t, () => {});
  const reading = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      bodies.add(body.toString('latin1'));
      if (Number(request.headers['content-length']) !== body.length) wrongLength += 1;
      draw(response);
    });
  });
  reading.listen(0, '127.0.0.1');
  await once(reading, 'listening');
  t.after(() => {
    reading.close();
    reading.closeAllConnections();
  });
  url.port = String((reading.address() as AddressInfo).port);
  const step = await generator(t, url, { styles: ['meadow', 'sky'] }).run(open(60, 1), calm);
  assert.equal(bodies.size, step.requests);
  assert.equal(wrongLength, 0);
  assert.ok(
    [...bodies].some((body) => body.includes('\r\nsky\r\n')) &&
      [...bodies].some((body) => body.includes('\r\nmeadow\r\n')),
  );
});

const rubbish: { name: string; answer: Answer; reason: RegExp }[] = [
  {
    name: 'a page instead of a picture',
    answer: (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hello'),
    reason: /^200 with text\/html$/,
  },
  {
    name: 'bytes that only call themselves a picture',
    answer: (response) => response.writeHead(200, { 'content-type': 'image/png' }).end('not really'),
    reason: /^not a picture$/,
  },
  {
    name: 'an empty picture',
    answer: (response) => response.writeHead(200, { 'content-type': 'image/png' }).end(),
    reason: /^empty picture$/,
  },
  {
    name: 'a picture that is cut off',
    answer: (response) => {
      response
        .writeHead(200, { 'content-type': 'image/png', 'content-length': picture.length })
        .write(picture.subarray(0, 40));
      setTimeout(() => response.destroy(), 5);
    },
    reason: /^reset$/,
  },
];
for (const { name, answer, reason } of rubbish) {
  test(`${name} is not counted as one`, async (t) => {
    const url = await server(t, answer);
    const step = await generator(t, url, { checkEveryMs: 0 }).run(open(20, 0.6), calm);
    assert.equal(step.ok, 0);
    assert.equal(step.verdict, 'not met');
    for (const each of Object.keys(step.reasons)) assert.match(each, reason);
  });
}

test('a picture of another shape or too large is wrong', async (t) => {
  const wide = await sharp({ create: { width: 128, height: 64, channels: 3, background: '#abc' } })
    .png()
    .toBuffer();
  const url = await server(t, (response) =>
    response.writeHead(200, { 'content-type': 'image/png' }).end(wide),
  );
  const step = await generator(t, url, { checkEveryMs: 0 }).run(open(20, 0.5), calm);
  assert.deepEqual(Object.keys(step.reasons), ['picture too large']);
});

test('refusals are told apart from faults and have times of their own', async (t) => {
  const url = await server(t, (response, number) => {
    if (number % 2 === 0) response.writeHead(503, { 'retry-after': '1' }).end();
    else draw(response);
  });
  const step = await generator(t, url).run(open(40, 1), calm);
  assert.ok(step.shed > 10 && step.failed === 0);
  assert.ok((step.refusal_ms?.p50 ?? 0) > 0);
  assert.ok(step.error_rate > 0.4);
});

test('a server that goes away stops the step', async (t) => {
  const dying = http.createServer((request, response) => {
    request.resume().on('end', () => draw(response));
  });
  dying.listen(0, '127.0.0.1');
  await once(dying, 'listening');
  const url = new URL(`http://127.0.0.1:${(dying.address() as AddressInfo).port}`);
  setTimeout(() => {
    dying.close();
    dying.closeAllConnections();
  }, 300);
  const step = await generator(t, url).run(open(100, 20), calm);
  assert.equal(step.ended, 'aborted');
  assert.match(step.why, /server is gone/);
  assert.ok(step.seconds < 5);
});

test('Ctrl-C ends a step with what it has', async (t) => {
  const interrupt = new AbortController();
  const url = await server(t, (response, number) => {
    draw(response);
    if (number === 10) interrupt.abort();
  });
  const step = await generator(t, url).run(open(50, 30), interrupt.signal);
  assert.equal(step.ended, 'interrupted');
  assert.ok(step.ok >= 10 && step.seconds < 5);
});

test('a hopeless step ends as soon as its verdict is known', async (t) => {
  const url = await server(t, () => {});
  const slow = generator(t, url, {
    slo: { p95_ms: 200, max_error_rate: 0.01, max_cpu: null, max_worker_memory_mb: null },
    drainMs: 10,
  });
  const step = await slow.run({ ...open(50, 30), early: { fail: true, pass: null } }, calm);
  assert.equal(step.ended, 'failed early');
  assert.equal(step.verdict, 'not met');
  assert.ok(step.seconds < 6, `${step.seconds} s`);
});

test('users of a closed load wait for their answers', async (t) => {
  let now = 0;
  let most = 0;
  const url = await server(t, (response) => {
    now += 1;
    most = Math.max(most, now);
    setTimeout(() => {
      now -= 1;
      draw(response);
    }, 50);
  });
  const step = await generator(t, url).run(
    { ...open(1, 1), load: { model: 'closed', users: 4, seconds: 1.5 } },
    calm,
  );
  assert.equal(most, 4);
  assert.equal(step.users, 4);
  assert.ok(step.achieved_qps > 30 && step.achieved_qps <= 80, `${step.achieved_qps}`);
});

test('a connection that cannot be made is a failure with its reason', async (t) => {
  const url = await server(t, () => {});
  url.port = '1';
  const step = await generator(t, url).run(open(20, 0.5), calm);
  assert.deepEqual(Object.keys(step.reasons), ['refused']);
});
