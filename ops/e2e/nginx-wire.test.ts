// What nginx does with the rendered configuration, seen on the wire: in front of small servers whose every answer a test
// decides.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadSettings } from '../../config/load.ts';
import { limitsOf, type NginxLimits, nginxValues } from '../front/nginx.ts';
import { freePort } from '../ports.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { fillTemplate } from '../process/template.ts';
import { selfSigned, skipWithoutOpenssl } from './certificate.ts';
import { nginxFolder, skipWithoutNginx, startNginx } from './nginx.ts';

const skip = skipWithoutNginx;

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}
type Answer = (seen: Seen, response: http.ServerResponse) => void;

/** A node that a test plays. */
async function startNode(context: TestContext, answer: Answer) {
  const seen: Seen[] = [];
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const one = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks),
    };
    seen.push(one);
    answer(one, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  context.after(close);
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close };
}

const ok: Answer = (_seen, response) => response.end('picture');

async function front(
  context: TestContext,
  nodes: readonly { address: string }[],
  { env = {}, limits }: { env?: Record<string, string>; limits?: Partial<NginxLimits> } = {},
) {
  const dir = nginxFolder(context);
  const port = await freePort('127.0.0.1');
  const settings = loadSettings({
    cwd: dir,
    env: {
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(port),
      TOONFLEET_NGINX__DIR: '.',
      TOONFLEET_NGINX__LOG_DIR: '.',
      ...env,
    },
  });
  const servers = nodes.map(({ address }) => ({ address, slots: undefined }));
  const values = nginxValues(settings, servers, { ...limitsOf(settings), ...limits }, 'a test');
  const file = (name: string) => readFileSync(join(PACKAGE_ROOT, 'nginx', name), 'utf8');
  const config = join(dir, 'nginx.conf');
  const site = fillTemplate(file('toonfleet.conf'), values);
  writeFileSync(config, fillTemplate(file('nginx.conf'), { ...values, site }));
  const url = `http://127.0.0.1:${port}`;
  return { url, dir, nginx: await startNginx(context, { dir, config, url }) };
}

const send = (url: string, path = '/v1/images', headers: Record<string, string> = {}, body = 'a photo') =>
  fetch(url + path, { method: 'POST', body, headers: { 'content-type': 'image/jpeg', ...headers } });

test('a picture whose worker dies is sent to the next node, byte for byte', { skip }, async (context) => {
  const dying = await startNode(context, (_seen, response) => response.socket?.destroy());
  const living = await startNode(context, ok);
  const { url, nginx } = await front(context, [dying, living]);
  const body = 'x'.repeat(3_000_000);
  const answers = await Promise.all([1, 2, 3, 4].map(() => send(url, '/v1/images', {}, body)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  assert.ok(dying.seen.length > 0, 'the dying one was asked too');
  assert.equal(living.seen.length, 4);
  for (const one of living.seen) assert.equal(one.body.toString(), body);
  assert.ok(nginx.lines().some(({ upstream_status }) => /^502, 200$/.test(String(upstream_status))));
});

test('a 503 is an answer: nobody else is asked, and the node stays in', { skip }, async (context) => {
  const full: Answer = (_seen, response) =>
    response.writeHead(503, { 'retry-after': '7' }).end('{"code":"overloaded"}');
  const nodes = [await startNode(context, full), await startNode(context, full)];
  const { url } = await front(context, nodes);
  for (let i = 0; i < 12; i++) {
    const answer = await send(url);
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get('retry-after'), '7');
    assert.equal(await answer.text(), '{"code":"overloaded"}');
  }
  assert.equal(
    nodes.reduce((sum, { seen }) => sum + seen.length, 0),
    12,
    'each picture went to one node',
  );
  for (const { seen } of nodes) assert.ok(seen.length >= 3, 'and both nodes stayed in');
});

test('a slow upload reaches no worker before it is whole', { skip }, async (context) => {
  const node = await startNode(context, ok);
  const { url } = await front(context, [node]);
  const request = http.request(`${url}/transform`, { method: 'POST', headers: { 'content-length': 20 } });
  request.write('0123456789');
  assert.equal((await send(url)).status, 200);
  assert.equal(node.seen.length, 1, 'the quick one, sent later');
  request.end('0123456789');
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
  assert.equal(answer.statusCode, 200);
  answer.resume();
  assert.equal(node.seen[1]?.body.toString(), '01234567890123456789');
});

test('the fleet’s own headers and paths stay inside', { skip }, async (context) => {
  const node = await startNode(context, ok);
  const { url } = await front(context, [node], { env: { TOONFLEET_NODE__KEY: 'the key of this fleet' } });
  await send(url, '/v1/images', {
    'x-attempt': '1',
    'x-node-key': 'a guess',
    'x-upload-field': 'file',
    'x-request-id': 'my-id',
    'x-deadline-ms': '5000',
    'x-forwarded-for': '1.2.3.4',
    forwarded: 'for=1.2.3.4',
  });
  const { headers } = node.seen[0] ?? assert.fail();
  assert.equal(headers['x-node-key'], 'the key of this fleet');
  assert.equal(headers['x-request-id'], 'my-id');
  assert.equal(headers['x-deadline-ms'], '5000');
  assert.equal(headers['x-forwarded-for'], '127.0.0.1');
  for (const name of ['x-attempt', 'x-upload-field', 'forwarded'])
    assert.equal(headers[name], undefined, name);
  await send(url, '/v1/images', { 'x-request-id': 'not "safe"' });
  assert.match(String(node.seen[1]?.headers['x-request-id']), /^[0-9a-f]{32}$/);
  for (const path of [
    '/internal/worker',
    '/%69nternal/worker',
    '//internal/worker',
    '/v1/../internal/worker',
  ])
    assert.equal(await statusOf(url, path), 404, path);
  assert.equal(node.seen.length, 2);
});

/** The status of a target as it is written; fetch would tidy it up. */
async function statusOf(url: string, path: string): Promise<number | undefined> {
  const { port } = new URL(url);
  const request = http.get({ host: '127.0.0.1', port, path, agent: false });
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
  answer.resume();
  return answer.statusCode;
}

test('a client over its rate hears 429 in the shape of the path, and the page stays open', {
  skip,
}, async (context) => {
  const node = await startNode(context, ok);
  const { url, nginx } = await front(context, [node], {
    limits: { client: { requests: 6, per: 60_000, burst: 2, concurrent: 0 } },
  });
  assert.deepEqual([(await send(url)).status, (await send(url)).status], [200, 200], 'the burst');
  const refused = await send(url, '/v1/images', { 'x-request-id': 'refused-1' });
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get('retry-after'), '10');
  assert.equal(refused.headers.get('content-type'), 'application/problem+json');
  assert.equal(refused.headers.get('x-request-id'), 'refused-1');
  const { code, status, request_id } = (await refused.json()) as Record<string, unknown>;
  const line = nginx.lines().find((each) => each.request_id === 'refused-1');
  assert.deepEqual([line?.method, line?.path, line?.status], ['POST', '/v1/images', 429]);
  assert.deepEqual([code, status, request_id], ['rate_limited', 429, 'refused-1']);
  assert.equal(((await (await send(url, '/transform')).json()) as { code: string }).code, 'rate_limited');
  const dialect = (await (await send(url, '/api/v1/transform')).json()) as Record<string, unknown>;
  assert.deepEqual([dialect.status, dialect.code], ['error', 'rate_limited']);
  for (const path of ['/', '/docs', '/v1/styles', '/ready', '/live'])
    assert.equal((await fetch(url + path)).status, 200, path);
});

test('a client with too many pictures under way hears 429', { skip }, async (context) => {
  const waiting: http.ServerResponse[] = [];
  const node = await startNode(context, (_seen, response) => waiting.push(response));
  const { url } = await front(context, [node], {
    limits: { client: { requests: 0, per: 60_000, burst: 0, concurrent: 2 } },
  });
  const first = [send(url), send(url)];
  while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.equal((await send(url)).status, 429);
  for (const response of waiting) response.end('picture');
  for (const answer of await Promise.all(first)) assert.equal(answer.status, 200);
});

test('a result is found on the node that has it, and then kept', { skip }, async (context) => {
  const without = await startNode(context, (_seen, response) => response.writeHead(404).end('not here'));
  const having = await startNode(context, ({ path }, response) => {
    if (path.includes('mine'))
      response.writeHead(200, {
        'accept-ranges': 'bytes',
        'content-length': 16,
        'cache-control': 'private, immutable',
        etag: '"mine"',
      });
    else response.writeHead(404);
    response.end('a stored picture');
  });
  const { url } = await front(context, [without, having]);
  for (let i = 0; i < 6; i++) {
    const answer = await fetch(`${url}/v1/results/mine`);
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), 'a stored picture');
  }
  assert.equal(having.seen.length, 1, 'the others came from the cache');
  const part = await fetch(`${url}/v1/results/mine`, { headers: { range: 'bytes=2-7' } });
  assert.deepEqual([part.status, await part.text()], [206, 'stored']);
  assert.equal((await fetch(`${url}/v1/results/none`)).status, 404);
});

test('the page is there while no node lives, and pictures get a 502 with a code', {
  skip,
}, async (context) => {
  const node = await startNode(context, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-cache' }).end('the page');
  });
  const { url } = await front(context, [node]);
  assert.equal(await (await fetch(url)).text(), 'the page');
  node.close();
  const page = await fetch(url);
  assert.deepEqual([page.status, await page.text()], [200, 'the page']);
  const answer = await send(url);
  assert.equal(answer.status, 502);
  assert.equal(((await answer.json()) as { code: string }).code, 'upstream_failed');
});

test('too much is refused with the codes of the table', { skip }, async (context) => {
  const node = await startNode(context, ok);
  const { url } = await front(context, [node], {
    env: { TOONFLEET_LIMITS__UPLOAD: '100KiB', TOONFLEET_LIMITS__JSON: '100KiB' },
  });
  const large = await send(url, '/transform', {}, 'x'.repeat(300_000));
  assert.deepEqual(
    [large.status, ((await large.json()) as { code: string }).code],
    [413, 'upload_too_large'],
  );
  const headers = await send(url, '/v1/images', { 'x-long': 'x'.repeat(9_000) });
  assert.deepEqual(
    [headers.status, ((await headers.json()) as { code: string }).code],
    [431, 'headers_too_large'],
  );
  assert.equal(node.seen.length, 0);
});

test('TLS, the redirect to it, HSTS and ACME challenges', {
  skip: skip || skipWithoutOpenssl,
}, async (context) => {
  const node = await startNode(context, ok);
  const files = nginxFolder(context);
  const { cert, key } = selfSigned(files);
  mkdirSync(join(files, '.well-known/acme-challenge'), { recursive: true });
  writeFileSync(join(files, '.well-known/acme-challenge/token'), 'proof');
  const port = await freePort('127.0.0.1');
  const { url, nginx } = await front(context, [node], {
    env: {
      TOONFLEET_BALANCER__TLS__PORT: String(port),
      TOONFLEET_BALANCER__TLS__CERT_FILE: cert,
      TOONFLEET_BALANCER__TLS__KEY_FILE: key,
      TOONFLEET_BALANCER__TLS__REDIRECT: 'true',
      TOONFLEET_BALANCER__TLS__HSTS: '1h',
      TOONFLEET_BALANCER__TLS__ACME_DIR: files,
    },
  });
  const sent = await fetch(`${url}/docs?x=1`, { redirect: 'manual' });
  assert.deepEqual([sent.status, sent.headers.get('location')], [308, `https://127.0.0.1:${port}/docs?x=1`]);
  assert.equal(sent.headers.get('strict-transport-security'), null);
  assert.equal(await (await fetch(`${url}/.well-known/acme-challenge/token`)).text(), 'proof');
  assert.equal((await fetch(`${url}/ready`, { redirect: 'manual' })).status, 200);
  const request = https.get({
    host: '127.0.0.1',
    port,
    path: '/ready',
    rejectUnauthorized: false,
    agent: false,
  });
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
  answer.resume();
  assert.equal(answer.headers['strict-transport-security'], 'max-age=3600');
  assert.match(String(nginx.lines().at(-1)?.tls), /^TLSv1\.[23]$/);
});
