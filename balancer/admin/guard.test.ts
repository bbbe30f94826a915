import assert from 'node:assert/strict';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { ADMIN_PATHS } from '../../config/admin.ts';
import { startBalancer, startUpstream } from '../passage/test-upstream.ts';
import { startAdmin } from '../traffic/test-admin.ts';
import { comesFromAnotherSite, isGuarded, mayCall } from './guard.ts';

const TOKEN = 'correct-horse-battery';
const CASES: { name: string; header: string | undefined; token: string | undefined; may: boolean }[] = [
  { name: 'the token', header: `Bearer ${TOKEN}`, token: TOKEN, may: true },
  { name: 'the scheme in small letters', header: `bearer ${TOKEN}`, token: TOKEN, may: true },
  {
    name: 'a token with spaces',
    header: 'Bearer a horse and a battery',
    token: 'a horse and a battery',
    may: true,
  },
  { name: 'no header', header: undefined, token: TOKEN, may: false },
  { name: 'an empty one', header: 'Bearer ', token: TOKEN, may: false },
  { name: 'another token', header: 'Bearer wrong-horse-battery', token: TOKEN, may: false },
  { name: 'a part of it', header: `Bearer ${TOKEN.slice(0, -1)}`, token: TOKEN, may: false },
  { name: 'more than it', header: `Bearer ${TOKEN}x`, token: TOKEN, may: false },
  { name: 'another scheme', header: `Basic ${TOKEN}`, token: TOKEN, may: false },
  { name: 'nothing, where no token is set', header: 'Bearer ', token: undefined, may: false },
  { name: 'anything, where no token is set', header: 'Bearer undefined', token: undefined, may: false },
];
for (const { name, header, token, may } of CASES)
  test(`${name} ${may ? 'opens' : 'does not open'} the admin API`, () =>
    assert.equal(mayCall(header, token), may));

test('only the admin API is guarded', () => {
  assert.ok(isGuarded('/admin/v1/status') && isGuarded('/admin'));
  assert.ok(!isGuarded('/metrics') && !isGuarded('/administrator'));
});

test('the status needs the token, carries no secret, and leaves an audit line either way', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], { TOONFLEET_BALANCER__ADMIN_TOKEN: TOKEN });
  balancer.adminServer.listen(0, '127.0.0.1');
  await once(balancer.adminServer, 'listening');
  context.after(() => balancer.adminServer.close());
  const url = `http://127.0.0.1:${(balancer.adminServer.address() as AddressInfo).port}/admin/v1/status`;

  const refused = await fetch(url);
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('www-authenticate'), 'Bearer');
  await refused.arrayBuffer();
  const answer = await fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.equal(answer.status, 200);
  const text = await answer.text();
  assert.ok(!text.includes(TOKEN));
  const status = JSON.parse(text) as {
    status: string;
    queue: object;
    upstreams: { url: string; state: string }[];
  };
  assert.equal(status.status, 'ready');
  assert.deepEqual(status.queue, { interactive: 0, batch: 0 });
  assert.deepEqual(
    status.upstreams.map(({ url: at, state }) => ({ at, state })),
    [{ at: upstream.url, state: 'up' }],
  );
  const lines = balancer.lines.filter(({ audit }) => audit === true);
  assert.deepEqual(
    lines.map(({ status: code }) => code),
    [401, 200],
  );
  assert.ok(!JSON.stringify(balancer.lines).includes(TOKEN));
});

const SITES: { name: string; headers: Record<string, string>; another: boolean }[] = [
  { name: 'a command, which says nothing', headers: {}, another: false },
  { name: 'a page of another site', headers: { 'sec-fetch-site': 'cross-site' }, another: true },
  { name: 'a page of another port', headers: { 'sec-fetch-site': 'same-site' }, another: true },
  { name: 'what was typed into a browser', headers: { 'sec-fetch-site': 'none' }, another: false },
  {
    name: 'a page of this port behind a proxy',
    headers: { 'sec-fetch-site': 'same-origin', origin: 'https://admin.example' },
    another: false,
  },
  {
    name: 'an old browser’s page of another site',
    headers: { origin: 'https://evil.example' },
    another: true,
  },
  {
    name: 'an old browser’s page of another port',
    headers: { origin: 'http://localhost:8080' },
    another: true,
  },
  {
    name: 'an old browser’s page of this port',
    headers: { origin: 'http://localhost:8081' },
    another: false,
  },
  { name: 'a file, or a frame in a sandbox', headers: { origin: 'null' }, another: true },
];
for (const { name, headers, another } of SITES)
  test(`${name} ${another ? 'is' : 'is not'} another site`, () =>
    assert.equal(comesFromAnotherSite({ host: 'localhost:8081', ...headers }), another));

test('a form or a script of another site changes nothing: no cookie is a token, no preflight passes, and the answer is not its to read', async (context) => {
  const balancer = await startAdmin(context, [await startUpstream(context)]);
  const { port } = new URL(balancer.adminUrl);
  const send = async (method: string, path: string, headers: Record<string, string>, body?: string) => {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port, method, path, headers, agent: false }, resolve);
      request.once('error', reject);
      request.end(body);
    });
    for await (const _ of answer);
    return answer;
  };
  const cookie = `admin_token=${TOKEN}; authorization=Bearer ${TOKEN}`;
  const form = {
    origin: 'https://evil.example',
    cookie,
    'content-type': 'application/x-www-form-urlencoded',
  };
  const answers = await Promise.all([
    send('POST', ADMIN_PATHS.pause, { ...form, 'sec-fetch-site': 'cross-site' }, `token=${TOKEN}`),
    send('POST', `${ADMIN_PATHS.pause}?token=${TOKEN}&access_token=${TOKEN}`, form),
    send('OPTIONS', ADMIN_PATHS.pause, {
      origin: 'https://evil.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    }),
    // Should something add the token for it.
    send('POST', ADMIN_PATHS.pause, { ...form, authorization: `Bearer ${TOKEN}` }),
    send('GET', '/admin/v1/status', { authorization: `Bearer ${TOKEN}`, 'sec-fetch-site': 'same-site' }),
  ]);
  assert.deepEqual(
    answers.map(({ statusCode }) => statusCode),
    [401, 401, 401, 401, 401],
  );
  const read = await send('GET', '/metrics', {
    origin: 'https://evil.example',
    'sec-fetch-site': 'cross-site',
  });
  for (const { headers } of [...answers, read])
    for (const name of Object.keys(headers)) assert.doesNotMatch(name, /^(access-control-|set-cookie)/);
  assert.equal(balancer.dispatch.paused, false);
  assert.equal((await balancer.admin('GET', 'status')).status, 200);
});
