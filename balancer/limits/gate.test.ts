import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import fc from 'fast-check';
import { settingsSchema } from '../../config/schema.ts';
import { echo, picture, startBalancer, startUpstream, type TestBalancer } from '../passage/test-upstream.ts';
import { createGate, type Pass } from './gate.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const json = (value: unknown) => JSON.stringify(value);

interface Asked {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** One request on a connection of its own, from an address of the loopback network. */
async function ask(
  { port }: { readonly port: number },
  how: {
    readonly from?: string;
    readonly method?: string;
    readonly path?: string;
    readonly headers?: http.OutgoingHttpHeaders;
    readonly body?: Buffer;
  } = {},
): Promise<Asked> {
  const { from = '127.0.0.1', method = 'POST', path = '/v1/images', headers = {} } = how;
  const body = method === 'POST' ? (how.body ?? picture('x')) : undefined;
  const request = http.request({
    host: '127.0.0.1',
    port,
    localAddress: from,
    method,
    path,
    agent: false,
    headers: { ...(body ? { 'content-type': 'image/png', 'content-length': body.length } : {}), ...headers },
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString('latin1'),
  };
}

const requestLines = (balancer: TestBalancer) =>
  balancer.lines.filter(({ message }) => message === 'request');
const shed = async (balancer: TestBalancer) =>
  Object.fromEntries(
    (await balancer.metrics.shed.get()).values.map(({ labels, value }) => [labels.reason, value]),
  );

const SLOWLY = { TOONFLEET_BALANCER__RATE_LIMIT__REQUESTS: '2', TOONFLEET_BALANCER__RATE_LIMIT__PER: '1h' };

test('a client over its limit gets 429 that says when to come back, and others are not touched', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], SLOWLY);
  const first = await ask(balancer);
  assert.equal(first.status, 200);
  assert.equal(first.headers['ratelimit-policy'], '"client";q=2;w=3600');
  assert.equal(first.headers.ratelimit, '"client";r=1;t=1800');
  assert.equal((await ask(balancer)).headers.ratelimit, '"client";r=0;t=1800');

  // The second moment is capped: nobody is sent away for longer than ten minutes.
  const refused = await ask(balancer);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers['content-type'], 'application/problem+json');
  assert.equal(refused.headers['retry-after'], '600');
  assert.equal(refused.headers.ratelimit, '"client";r=0;t=600');
  assert.equal(refused.headers['ratelimit-policy'], '"client";q=2;w=3600');
  const { code, detail } = JSON.parse(refused.body) as Record<string, string>;
  assert.equal(code, 'rate_limited');
  assert.match(detail ?? '', /2 pictures at once and then one every 30m/);

  assert.equal((await ask(balancer, { from: '127.0.0.2' })).status, 200);
  assert.equal(upstream.arrivals.length, 3);
  assert.deepEqual(await shed(balancer), { client_rate: 1 });
  const line = await balancer.logged(({ status }) => status === 429);
  assert.equal(line.end, 'LH');
  assert.equal(line.client, '127.0.0.1');
  assert.equal(line.peer, undefined);
});

test('the limit is judged at the headers: the body of a refused picture is not asked for', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], SLOWLY);
  await ask(balancer);
  await ask(balancer);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.write(
    'POST /transform HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n',
  );
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  assert.match(chunk.toString(), /^HTTP\/1\.1 429 /);
  socket.destroy();
});

test('page, health and styles are never limited and say nothing of limits', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__RATE_LIMIT__CONCURRENT: '1',
    TOONFLEET_BALANCER__API_KEYS: json([{ name: 'shop', sha256: sha256('tf_k') }]),
  });
  for (const path of ['/', '/live', '/ready', '/health', '/v1/styles', '/v2/health/live'])
    for (let i = 0; i < 4; i++) {
      const { status, headers } = await ask(balancer, { method: 'GET', path });
      assert.equal(status, 200, path);
      assert.equal(headers.ratelimit, undefined, path);
    }
});

test('an answer of ours that is no fault of the client costs it nothing; a bad picture costs a token', async (context) => {
  const balancer = await startBalancer(context, [], SLOWLY);
  for (let i = 0; i < 5; i++) {
    const { status, headers } = await ask(balancer);
    assert.equal(status, 503);
    assert.equal(headers.ratelimit, '"client";r=2');
  }
  const upstream = await startUpstream(context);
  const other = await startBalancer(context, [upstream], SLOWLY);
  const bad = await ask(other, { body: Buffer.from('GIF89a, honestly') });
  assert.equal(bad.status, 415);
  assert.equal(bad.headers.ratelimit, '"client";r=1;t=1800');
});

test('forwarding headers of anybody are no way around a limit, and go no further', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__TRUSTED_PROXIES: json(['127.0.0.9']),
  });
  const claims = (address: string) => ({
    'x-forwarded-for': address,
    forwarded: `for=${address}`,
    'x-real-ip': address,
    'x-client-ip': address,
  });
  const statuses: number[] = [];
  for (let i = 1; i <= 4; i++) statuses.push((await ask(balancer, { headers: claims(`1.2.3.${i}`) })).status);
  assert.deepEqual(statuses, [200, 200, 429, 429]);
  for (const { headers } of upstream.arrivals)
    for (const name of Object.keys(claims(''))) assert.equal(headers[name], undefined, name);
  assert.ok(requestLines(balancer).every(({ client }) => client === '127.0.0.1'));
});

test('behind a trusted proxy each client has its own limit, whatever it claims itself', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__TRUSTED_PROXIES: json(['127.0.0.0/8']),
  });
  const through = async (list: string) =>
    (await ask(balancer, { headers: { 'x-forwarded-for': list } })).status;
  // The proxy adds what it saw at the right end.
  assert.deepEqual(
    [
      await through('7.7.7.1, 9.9.9.9'),
      await through('7.7.7.2, 9.9.9.9'),
      await through('7.7.7.3, ::ffff:909:909'),
    ],
    [200, 200, 429],
  );
  assert.equal(await through('9.9.9.9, 8.8.8.8'), 200);
  assert.deepEqual(
    [await through('2001:db8::1'), await through('2001:db8::2'), await through('2001:db8::3')],
    [200, 200, 429],
  );
  assert.equal(await through('2001:db8:0:1::3'), 200);
  const line = await balancer.logged(({ client }) => client === '9.9.9.9');
  assert.equal(line.peer, '127.0.0.1');
});

test('a place is kept while the work goes on, also for a client that left', async (context) => {
  const held: http.ServerResponse[] = [];
  const upstream = await startUpstream(context, ({ response }) => held.push(response));
  const balancer = await startBalancer(context, [{ url: upstream.url, slots: 4 }], {
    TOONFLEET_BALANCER__RATE_LIMIT__CONCURRENT: '2',
  });
  const leaving = http.request({
    host: '127.0.0.1',
    port: balancer.port,
    method: 'POST',
    path: '/transform',
  });
  leaving.on('error', () => {});
  leaving.setHeader('content-type', 'image/png').end(picture('leaving'));
  await upstream.arrived(1);
  const staying = ask(balancer);
  await upstream.arrived(2);
  const refused = await ask(balancer);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers['ratelimit-policy'], '"client-concurrent";q=2;qu="concurrent-requests"');
  assert.match(String(refused.headers.ratelimit), /^"client-concurrent";r=0;t=\d+$/);
  assert.equal(refused.headers['retry-after'], /t=(\d+)/.exec(String(refused.headers.ratelimit))?.[1]);
  assert.deepEqual(await shed(balancer), { client_concurrency: 1 });

  leaving.destroy();
  assert.equal((await ask(balancer)).status, 429);
  held[0]?.writeHead(200, { 'content-type': 'image/png' }).end(picture('leaving'));
  await balancer.logged(({ status }) => status === 499);
  const next = ask(balancer);
  await upstream.arrived(3);
  for (const response of held.slice(1))
    response.writeHead(200, { 'content-type': 'image/png' }).end(picture('x'));
  assert.equal((await staying).status, 200);
  assert.equal((await next).status, 200);
});

test('a client that reads its answer slowly keeps its place meanwhile', async (context) => {
  const large = picture(Buffer.alloc(16 * 1024 * 1024));
  const upstream = await startUpstream(context, ({ response }) =>
    response.writeHead(200, { 'content-type': 'image/png', 'content-length': large.length }).end(large),
  );
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_BALANCER__RATE_LIMIT__CONCURRENT: '1',
    // Lets an answer in that no buffer of the kernel holds.
    TOONFLEET_LIMITS__MAX_SIDE: '4096',
  });
  const slow = http.request({ host: '127.0.0.1', port: balancer.port, method: 'POST', path: '/transform' });
  slow.setHeader('content-type', 'image/png').end(picture('slow'));
  const [response] = (await once(slow, 'response')) as [http.IncomingMessage];
  assert.equal(response.statusCode, 200);
  assert.equal((await ask(balancer)).status, 429);
  response.resume();
  await once(response, 'end');
  assert.equal((await ask(balancer)).status, 200);
});

test('what all clients may do together is limited apart from what each may', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__RATE_LIMIT__TOTAL__REQUESTS: '3',
    TOONFLEET_BALANCER__RATE_LIMIT__TOTAL__PER: '1h',
  });
  for (const from of ['127.0.0.1', '127.0.0.2', '127.0.0.3'])
    assert.equal((await ask(balancer, { from })).status, 200);
  const refused = await ask(balancer, { from: '127.0.0.4' });
  assert.equal(refused.status, 429);
  assert.match(String(refused.headers.ratelimit), /^"total";r=0;t=600$/);
  // Who was refused for all has not spent a token of its own.
  assert.deepEqual(await shed(balancer), { total_rate: 1 });
});

const KEYS = json([
  { name: 'shop', sha256: sha256('tf_shop'), requests: 3, per: '1h' },
  { name: 'night', sha256: sha256('tf_night').toUpperCase(), requests: 0, priority: 'batch' },
]);
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

test('where keys are listed, a picture needs one', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], { TOONFLEET_BALANCER__API_KEYS: KEYS });
  const without = await ask(balancer);
  assert.equal(without.status, 401);
  assert.equal(without.headers['www-authenticate'], 'Bearer realm="toonfleet"');
  assert.equal((JSON.parse(without.body) as { code: string }).code, 'unauthorized');
  const wrong = await ask(balancer, { headers: bearer('tf_shopp') });
  assert.equal(wrong.status, 401);
  assert.equal(wrong.headers['www-authenticate'], 'Bearer realm="toonfleet", error="invalid_token"');
  assert.equal(wrong.headers.ratelimit, undefined);
  assert.equal(upstream.arrivals.length, 0);
  assert.equal((await ask(balancer, { headers: { 'x-api-key': 'tf_shop' } })).status, 200);
  assert.equal((await ask(balancer, { headers: bearer('tf_shop') })).status, 200);
  for (const { headers } of upstream.arrivals)
    for (const name of ['authorization', 'x-api-key']) assert.equal(headers[name], undefined);
  assert.deepEqual(
    requestLines(balancer).map(({ key, status }) => [key, status]),
    [
      [undefined, 401],
      [undefined, 401],
      ['shop', 200],
      ['shop', 200],
    ],
  );
  assert.ok(!json(balancer.lines).includes('tf_shop'));
});

test('each key has limits of its own, shared by all addresses that use it', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__API_KEYS: KEYS,
    TOONFLEET_BALANCER__API_KEYS_REQUIRED: 'false',
  });
  const statuses = async (headers: Record<string, string>) => {
    const all: number[] = [];
    for (let i = 1; i <= 4; i++) all.push((await ask(balancer, { from: `127.0.0.${i}`, headers })).status);
    return all;
  };
  assert.deepEqual(await statuses(bearer('tf_shop')), [200, 200, 200, 429]);
  assert.deepEqual(await statuses(bearer('tf_night')), [200, 200, 200, 200]);
  assert.deepEqual(await statuses({}), [200, 200, 200, 200]);
  assert.deepEqual(await statuses(bearer('tf_guess')), [401, 401, 401, 401]);
  assert.deepEqual(await shed(balancer), { key_rate: 1 });
});

test('a key that says nothing of its own has the limits of every client', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__RATE_LIMIT__CONCURRENT: '5',
    TOONFLEET_BALANCER__API_KEYS: json([{ name: 'plain', sha256: sha256('tf_plain') }, ...JSON.parse(KEYS)]),
  });
  assert.equal(
    (await ask(balancer, { headers: bearer('tf_plain') })).headers['ratelimit-policy'],
    '"key";q=2;w=3600, "key-concurrent";q=5;qu="concurrent-requests"',
  );
  assert.equal(
    (await ask(balancer, { headers: bearer('tf_night') })).headers['ratelimit-policy'],
    '"key-concurrent";q=5;qu="concurrent-requests"',
  );
});

test('a key for batch work cannot ask for more; another one may ask for less', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], { TOONFLEET_BALANCER__API_KEYS: KEYS });
  await ask(balancer, { headers: { ...bearer('tf_night'), 'x-priority': 'interactive' } });
  await ask(balancer, { headers: { ...bearer('tf_shop'), 'x-priority': 'batch' } });
  await ask(balancer, { headers: bearer('tf_shop') });
  assert.deepEqual(
    requestLines(balancer).map(({ key, priority }) => [key, priority]),
    [
      ['night', 'batch'],
      ['shop', 'batch'],
      ['shop', undefined],
    ],
  );
});

test('without keys in the settings nobody looks at credentials', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const { status, headers } = await ask(balancer, {
    headers: { ...bearer('anything'), 'x-api-key': 'other' },
  });
  assert.equal(status, 200);
  assert.equal(headers.ratelimit, undefined);
});

test('a page elsewhere sends a picture as a browser would: preflight, then the call, and reads what it may', async (context) => {
  const upstream = await startUpstream(context, echo);
  const balancer = await startBalancer(context, [upstream], {
    ...SLOWLY,
    TOONFLEET_BALANCER__CORS: json(['https://app.example.com']),
    TOONFLEET_BALANCER__API_KEYS: KEYS,
  });
  const origin = 'https://app.example.com';
  const preflight = await ask(balancer, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,x-priority',
    },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], origin);
  assert.match(String(preflight.headers['access-control-allow-methods']), /\bPOST\b/);
  const mayset = String(preflight.headers['access-control-allow-headers']).toLowerCase().split(', ');
  for (const name of ['authorization', 'content-type', 'x-priority']) assert.ok(mayset.includes(name), name);
  assert.match(String(preflight.headers.vary), /Origin/);

  const answer = await ask(balancer, { headers: { origin, ...bearer('tf_shop') } });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['access-control-allow-origin'], origin);
  assert.equal(answer.headers.vary, 'Origin');
  const readable = String(answer.headers['access-control-expose-headers']).split(', ');
  for (const name of Object.keys(answer.headers))
    if (/^(x-(?!content)|ratelimit|server-timing)/.test(name)) assert.ok(readable.includes(name), name);
  assert.equal(answer.headers['access-control-allow-credentials'], undefined);

  // A refusal is readable too, or the page could not tell its user what is wrong.
  const refused = await ask(balancer, { headers: { origin } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers['access-control-allow-origin'], origin);

  const foreign = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
  const turnedAway = await ask(balancer, { method: 'OPTIONS', headers: foreign });
  assert.equal(turnedAway.headers['access-control-allow-origin'], undefined);
  assert.equal(turnedAway.headers['access-control-allow-methods'], undefined);
  assert.match(String(turnedAway.headers.vary), /Origin/);
});

const gateOf = (balancer: object) => createGate(settingsSchema.parse({ balancer }).balancer);
const from = (client: string) => ({ client, headers: {}, priority: 'interactive' as const });

test('who is refused for the sake of all has spent nothing of its own', () => {
  const gate = gateOf({ rate_limit: { requests: 2, per: '1h', total: { concurrent: 1 } } });
  const first = gate.admit(from('1.1.1.1'), 0);
  assert.equal(first.kind, 'admitted');
  for (let i = 0; i < 5; i++) assert.equal(gate.admit(from('2.2.2.2'), 0).kind, 'refused');
  if (first.kind === 'admitted') first.pass.leave(10);
  const later = gate.admit(from('2.2.2.2'), 10);
  assert.equal(later.kind === 'admitted' && later.pass.fields(10).ratelimit, '"client";r=1;t=1800');
});

test('whatever the ends of requests, places come back, and tokens only where the end was ours', () => {
  const step = fc.record({
    client: fc.nat(2),
    end: fc.option(fc.nat(9), { freq: 2 }),
    status: fc.constantFrom(200, 415, 499, 500, 502, 503, 504, 507),
    twice: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const burst = 5;
      const gate = gateOf({ rate_limit: { requests: burst, per: '24h', concurrent: 2 } });
      const spent = [0, 0, 0];
      const held: { client: number; pass: Pass }[] = [];
      for (const { client, end, status, twice } of steps) {
        const [ending] = end === null ? [] : held.splice(end, 1);
        if (ending) {
          for (let i = 0; i < (twice ? 2 : 1); i++) {
            ending.pass.settle(status);
            ending.pass.leave(0);
          }
          if ([500, 503, 507].includes(status)) spent[ending.client] = (spent[ending.client] ?? 0) - 1;
          continue;
        }
        const places = 2 - held.filter((other) => other.client === client).length;
        const tokens = burst - (spent[client] ?? 0);
        const verdict = gate.admit(from(`1.1.1.${client}`), 0);
        assert.equal(verdict.kind === 'admitted', places > 0 && tokens > 0);
        if (verdict.kind !== 'admitted') continue;
        spent[client] = (spent[client] ?? 0) + 1;
        held.push({ client, pass: verdict.pass });
        assert.match(
          verdict.pass.fields(0).ratelimit ?? '',
          new RegExp(`^"client";r=${tokens - 1};t=\\d+, "client-concurrent";r=${places - 1}$`),
        );
      }
    }),
  );
});
