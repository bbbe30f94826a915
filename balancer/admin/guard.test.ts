import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { startBalancer, startUpstream } from '../passage/test-upstream.ts';
import { isGuarded, mayCall } from './guard.ts';

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
