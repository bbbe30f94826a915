import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { statusSchema } from '../../config/admin.ts';
import { ToonError } from '../../config/errors.ts';
import {
  type Behaviour,
  echo,
  picture,
  STYLE,
  startBalancer,
  startUpstream,
  type TestBalancer,
} from '../passage/test-upstream.ts';
import { NOWHERE } from '../schedule/pick.ts';
import { dataDir, startAdmin, TestAgent } from './test-admin.ts';

const send = (balancer: Pick<TestBalancer, 'url'>, name: string, headers: Record<string, string> = {}) =>
  fetch(`${balancer.url}/transform`, {
    method: 'POST',
    body: new Uint8Array(picture(name)),
    headers,
    signal: AbortSignal.timeout(10_000),
  });
const drawn = async (
  balancer: Pick<TestBalancer, 'url'>,
  name: string,
  headers: Record<string, string> = {},
) => {
  const response = await send(balancer, name, headers);
  assert.equal(response.status, 200, await response.clone().text());
  await response.arrayBuffer();
  return response.headers.get('x-release');
};
/** Two nodes with an agent each, of these releases, and a balancer that knows both. */
async function twoNodes(
  context: test.TestContext,
  releases: readonly [string, string] = ['1.0', '1.1'],
  env: Record<string, string> = {},
) {
  const upstreams = [await startUpstream(context), await startUpstream(context)] as const;
  const agents = [
    await new TestAgent('vm-1', releases[0], [upstreams[0]]).listen(context),
    await new TestAgent('vm-2', releases[1], [upstreams[1]]).listen(context),
  ] as const;
  const balancer = await startAdmin(
    context,
    [],
    { TOONFLEET_NODES: JSON.stringify(agents.map(({ url }) => ({ agent: url }))), ...env },
    2,
  );
  return { upstreams, agents, balancer };
}
const detail = ({ body }: { body: Record<string, unknown> }) => String(body.error);

test('a drained node finishes what it has and takes nothing new, and every balancer is shown that', async (context) => {
  const { upstreams, agents, balancer } = await twoNodes(context);
  const held: Parameters<Behaviour>[0][] = [];
  for (const upstream of upstreams) upstream.behaviour = (arrival) => held.push(arrival);
  const pictures = [send(balancer, 'a'), send(balancer, 'b')];
  await Promise.all(upstreams.map((upstream) => upstream.arrived(1)));

  const early = await balancer.admin('POST', 'nodes/vm-1/drain?wait=0');
  assert.deepEqual(early, {
    status: 200,
    body: { node: 'vm-1', draining: true, drained: false, in_flight: 1 },
  });
  assert.equal(agents[0].roster.draining, true, 'its agent keeps it');
  const waiting = balancer.admin('POST', 'nodes/vm-1/drain?wait=10s');
  for (const upstream of upstreams) upstream.behaviour = echo;
  for (const arrival of held) echo(arrival);
  assert.deepEqual((await waiting).body, { node: 'vm-1', draining: true, drained: true, in_flight: 0 });
  for (const response of await Promise.all(pictures)) assert.equal(response.status, 200);

  const before = upstreams[0].arrivals.length;
  for (let i = 0; i < 5; i++) assert.equal(await drawn(balancer, `after ${i}`), '1.1');
  assert.equal(upstreams[0].arrivals.length, before);
  const back = await balancer.admin('POST', 'nodes/vm-1/undrain');
  assert.deepEqual(back.body, { node: 'vm-1', draining: false, drained: false, in_flight: 0 });
  await Promise.all([drawn(balancer, 'c'), drawn(balancer, 'd')]);
});

test('a drain, or its end, whose answer was lost with its balancer is asked of the next one, and said to be so', async (context) => {
  const { agents, balancer } = await twoNodes(context);
  const env = { TOONFLEET_NODES: JSON.stringify(agents.map(({ url }) => ({ agent: url }))) };
  assert.equal((await balancer.admin('POST', 'nodes/vm-1/drain?wait=0')).status, 200);
  const next = await startAdmin(context, [], env, 1);
  for (const again of [1, 2])
    assert.deepEqual(
      await next.admin('POST', 'nodes/vm-1/drain?wait=10s'),
      { status: 200, body: { node: 'vm-1', draining: true, drained: true, in_flight: 0 } },
      `once more: ${again}`,
    );
  assert.equal(
    (await next.admin('POST', 'nodes/vm-2/drain?wait=0')).status,
    409,
    'the other one has to stay',
  );
  for (const again of [1, 2])
    assert.deepEqual(
      await next.admin('POST', 'nodes/vm-1/undrain'),
      { status: 200, body: { node: 'vm-1', draining: false, drained: false, in_flight: 0 } },
      `once more: ${again}`,
    );
});

test('workers of a drained node are not told as up, so that a fleet in which nobody may draw is alerted of', async (context) => {
  const { balancer, upstreams } = await twoNodes(context);
  const states = async () => {
    const text = await (await fetch(`${balancer.adminUrl}/metrics`)).text();
    return upstreams.map(({ url }) =>
      [...text.matchAll(/^toonfleet_upstream_state\{upstream="([^"]+)",.*state="(\w+)"\} 1$/gm)]
        .filter(([, origin]) => origin === url)
        .map(([, , state]) => state)
        .join(),
    );
  };
  assert.deepEqual(await states(), ['up', 'up']);
  await balancer.admin('POST', 'nodes/vm-1/drain?wait=10s');
  assert.deepEqual(await states(), ['draining', 'up']);
});

test('of two drains at once, one is refused when both together would leave too few', async (context) => {
  const { balancer } = await twoNodes(context);
  const answers = await Promise.all([
    balancer.admin('POST', 'nodes/vm-1/drain?wait=0'),
    balancer.admin('POST', 'nodes/vm-2/drain?wait=0'),
  ]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
  const refused = answers.find(({ status }) => status === 409);
  assert.match(
    detail(refused ?? { body: {} }),
    /would leave 0 nodes in service, and balancer.min_available is 1/,
  );
  await drawn(balancer, 'still served');
});

test('two balancers that drain at once leave enough nodes', async (context) => {
  const { agents, balancer } = await twoNodes(context);
  const other = await startAdmin(
    context,
    [],
    { TOONFLEET_NODES: JSON.stringify(agents.map(({ url }) => ({ agent: url }))) },
    2,
  );
  for (let round = 0; round < 5; round++) {
    await Promise.all([
      balancer.admin('POST', 'nodes/vm-1/drain?wait=0'),
      other.admin('POST', 'nodes/vm-2/drain?wait=0'),
    ]);
    assert.ok(
      agents.some(({ roster }) => !roster.draining),
      `round ${round}`,
    );
    for (const id of ['vm-1', 'vm-2']) await balancer.admin('POST', `nodes/${id}/undrain`);
    await other.roster.refresh();
  }
});

test('a drain that nobody could keep is refused, and the node works on', async (context) => {
  const { agents, balancer, upstreams } = await twoNodes(context);
  agents[0].close();
  const answer = await balancer.admin('POST', 'nodes/vm-1/drain?wait=0');
  assert.equal(answer.status, 502);
  assert.match(detail(answer), /agent of vm-1 .* did not take it .*nobody listens there/);
  await Promise.all([drawn(balancer, 'a'), drawn(balancer, 'b')]);
  assert.equal(upstreams[0].arrivals.length, 1, 'an agent that is gone ejects nobody');
});

test('a plain upstream is drained by HOST:PORT, and a restarted balancer forgets nothing', async (context) => {
  const [one, two] = [await startUpstream(context), await startUpstream(context)];
  const folder = dataDir(context);
  const first = await startAdmin(context, [one, two], { TOONFLEET_DATA_DIR: folder });
  const id = one.url.replace('http://', '');
  const answer = await first.admin('POST', `nodes/${encodeURIComponent(id)}/drain`);
  assert.deepEqual(answer, { status: 200, body: { node: id, draining: true, drained: true, in_flight: 0 } });
  await first.admin('PUT', 'traffic', { '1.0': 1, '1.1': 0 });
  await first.admin('POST', 'pause');

  const second = await startAdmin(context, [one, two], { TOONFLEET_DATA_DIR: folder });
  const status = statusSchema.parse((await second.admin('GET', 'status')).body);
  assert.equal(status.paused, true);
  assert.deepEqual(status.traffic.weights, { '1.0': 1, '1.1': 0 });
  assert.deepEqual(
    status.nodes.map(({ draining }) => draining),
    [true, false],
  );
  // What one is told, the other of this machine obeys too.
  await first.admin('POST', 'resume');
  await second.logged(({ message }) => message === 'resumed');
  await drawn(second, 'a');
  assert.equal(one.arrivals.length, 0);
});

test('a broken state file stops the start with a sentence that says what to do', async (context) => {
  const folder = dataDir(context);
  writeFileSync(join(folder, 'balancer-state.json'), '{"version": 1, "paused": tr');
  await assert.rejects(
    startBalancer(context, [], { TOONFLEET_DATA_DIR: folder }),
    /balancer-state\.json \(the balancer's state\) is broken: it is not JSON\. Mend it, or move it away/,
  );
});

test('nodes come and go at run time, and stay so over a restart', async (context) => {
  const [one, two] = [await startUpstream(context), await startUpstream(context)];
  const folder = dataDir(context);
  const balancer = await startAdmin(context, [one], { TOONFLEET_DATA_DIR: folder });
  const added = await balancer.admin('PUT', 'nodes/extra', { url: two.url, slots: 1, release: '2.0' });
  assert.equal(added.status, 201);
  assert.equal(added.body.release, '2.0');
  await balancer.logged(
    ({ message, to, upstream }) => message === 'upstream changed' && to === 'up' && upstream === two.url,
  );
  const again = await balancer.admin('PUT', 'nodes/extra', { url: two.url, slots: 1, release: '2.0' });
  assert.equal(again.status, 200);
  const first = one.url.replace('http://', '');
  assert.deepEqual((await balancer.admin('DELETE', `nodes/${first}`)).body, {
    node: first,
    removed: true,
    in_flight: 0,
  });
  assert.equal(await drawn(balancer, 'a'), '2.0');
  const last = await balancer.admin('DELETE', 'nodes/extra');
  assert.equal(last.status, 409);
  assert.match(detail(last), /Removing extra would leave 0 nodes/);

  const second = await startAdmin(context, [one], { TOONFLEET_DATA_DIR: folder }, 1);
  const status = statusSchema.parse((await second.admin('GET', 'status')).body);
  assert.deepEqual(
    status.nodes.map(({ id, url, from }) => ({ id, url, from })),
    [{ id: 'extra', url: two.url, from: 'admin' }],
  );
  assert.equal(await drawn(second, 'b'), '2.0');
  const file = JSON.parse(readFileSync(join(folder, 'balancer-state.json'), 'utf8')) as { removed: string[] };
  assert.deepEqual(file.removed, [one.url]);
});

test('a node with an agent can be added while it serves nobody yet', async (context) => {
  const [one, two] = [await startUpstream(context), await startUpstream(context)];
  const balancer = await startAdmin(context, [one]);
  const agent = await new TestAgent('vm-9', '3.0', [two]).listen(context);
  const added = await balancer.admin('PUT', 'nodes/vm-9', { agent: agent.url });
  assert.equal(added.status, 201);
  assert.equal(added.body.release, '3.0');
  await balancer.logged(
    ({ message, to, upstream }) =>
      message === 'upstream changed' && to === 'up' && String(upstream).startsWith(two.url),
  );
  assert.equal(await drawn(balancer, 'a', { 'x-release': '3.0' }), '3.0');
});

test('blue and green: all goes to one, and at once to the other', async (context) => {
  const { balancer } = await twoNodes(context);
  await balancer.admin('PUT', 'traffic', { '1.0': 100, '1.1': 0 });
  for (let i = 0; i < 5; i++) assert.equal(await drawn(balancer, `blue ${i}`), '1.0');
  assert.equal(await drawn(balancer, 'a look', { 'x-release': '1.1' }), '1.1');
  const set = await balancer.admin('PUT', 'traffic', { '1.0': 0, '1.1': 100 });
  const divided = { weights: { '1.0': 0, '1.1': 100 }, rollback: null, rolled_back: null };
  assert.deepEqual(set.body, { ...divided, seen: {} }, 'what blue got belongs to the weights before');
  for (let i = 0; i < 5; i++) assert.equal(await drawn(balancer, `green ${i}`), '1.1');
  const { body } = await balancer.admin('GET', 'traffic');
  assert.deepEqual(body, { ...divided, seen: { '1.1': { attempts: 5, faults: 0 } } });
  await balancer.admin('PUT', 'traffic', { weights: null });
  const both = await Promise.all(Array.from({ length: 6 }, (_, i) => drawn(balancer, `any ${i}`)));
  assert.deepEqual([...new Set(both)].sort(), ['1.0', '1.1']);
});

test('a canary that fails goes by itself, and no client has noticed', async (context) => {
  const { balancer, upstreams } = await twoNodes(context);
  upstreams[1].behaviour = ({ response }) => response.writeHead(500, { 'content-length': 0 }).end();
  // All clients of this test have one address: it has to be one that the canary gets.
  await balancer.admin('PUT', 'traffic', {
    weights: { '1.0': 1, '1.1': 1_000_000 },
    rollback: { base: '1.0', min_requests: 20 },
  });
  for (let i = 0; i < 6; i++) await drawn(balancer, `${i}`);
  await balancer.logged(({ message, reason }) => message === 'canary rolled back' && reason === 'errors');
  const { traffic } = statusSchema.parse((await balancer.admin('GET', 'status')).body);
  assert.deepEqual(traffic.weights, { '1.0': 1_000_001, '1.1': 0 });
  assert.equal(traffic.rolled_back?.release, '1.1');
  assert.equal(await drawn(balancer, 'after'), '1.0');
  assert.match(await balancer.metrics.registry.metrics(), /toonfleet_rollbacks_total\{reason="errors"\} 1/);
});

test('a canary that is slow beside its base goes by itself too', async (context) => {
  const { balancer } = await twoNodes(context);
  await balancer.admin('PUT', 'traffic', {
    weights: { '1.0': 1, '1.1': 1_000_000 },
    rollback: { base: '1.0', min_requests: 8, max_latency_ratio: 2 },
  });
  // How long a picture takes on a busy machine is no matter for a test: the paces are told.
  const note = (release: string, pace: number) => balancer.traffic.note({ release, end: 'success', pace });
  for (let i = 0; i < 8; i++) note('1.0', 1);
  for (let i = 0; i < 7; i++) note('1.1', 3);
  assert.equal(await drawn(balancer, 'too early'), '1.1');
  note('1.1', 3);
  const line = balancer.lines.find(({ message }) => message === 'canary rolled back');
  assert.equal(line?.reason, 'latency');
  assert.equal(await drawn(balancer, 'after'), '1.0');
});

test('a pause holds pictures and loses none; they are drawn when it ends', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startAdmin(context, [upstream]);
  assert.deepEqual((await balancer.admin('POST', 'pause')).body, { paused: true, queued: 0 });
  const held = Array.from({ length: 5 }, (_, index) => send(balancer, `${index}`));
  while (balancer.dispatch.queued < 5) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(upstream.arrivals.length, 0);
  assert.equal((await balancer.admin('POST', 'resume')).status, 200);
  for (const response of await Promise.all(held)) assert.equal(response.status, 200);
});

test('a pause even outlasts the workers: they may be changed under it', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startAdmin(context, [upstream]);
  await balancer.admin('POST', 'pause');
  const port = Number(new URL(upstream.url).port);
  await upstream.die();
  await balancer.logged(({ message }) => message === 'upstream ejected');
  const held = send(balancer, 'patient');
  while (balancer.dispatch.queued < 1) await new Promise((resolve) => setImmediate(resolve));
  const from = balancer.lines.length;
  await upstream.listen(port);
  await balancer.logged(({ message, to }) => message === 'upstream changed' && to === 'up', from);
  await balancer.admin('POST', 'resume');
  assert.equal((await held).status, 200);
});

test('in a pause the bound of the line and the deadlines hold', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startAdmin(context, [upstream], { TOONFLEET_BALANCER__QUEUE_LENGTH: '1' });
  await balancer.admin('POST', 'pause');
  const first = send(balancer, 'a', { 'x-deadline-ms': '400' });
  while (balancer.dispatch.queued < 1) await new Promise((resolve) => setImmediate(resolve));
  const second = await send(balancer, 'b');
  assert.equal(second.status, 503);
  assert.match(await second.text(), /The queue is full/);
  const late = await first;
  assert.equal(late.status, 503);
  assert.match(await late.text(), /is paused/);
  assert.ok(Number(late.headers.get('retry-after')) >= 1);
});

test('events tell what happens to the fleet, and a listener that comes back misses none', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startAdmin(context, [upstream]);
  const listen = async (after?: string) => {
    const response = await fetch(`${balancer.adminUrl}/admin/v1/events`, {
      headers: {
        authorization: 'Bearer correct-horse-battery',
        ...(after === undefined ? {} : { 'last-event-id': after }),
      },
    });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    const reader = response.body?.getReader();
    assert.ok(reader);
    let text = '';
    const until = async (pattern: RegExp) => {
      for (;;) {
        const found = pattern.exec(text);
        if (found) return found;
        const { value, done } = await reader.read();
        assert.ok(!done, text);
        text += Buffer.from(value).toString();
      }
    };
    return { until, leave: () => reader.cancel() };
  };
  const first = await listen();
  await first.until(/: listening/);
  await balancer.admin('POST', 'pause');
  const [, id = ''] = await first.until(/id: (\d+)\nevent: paused\ndata: \{"queued":0\}\n\n/);
  await first.leave();
  await balancer.admin('PUT', 'traffic', { '1.0': 1 });
  await balancer.admin('POST', 'resume');
  const second = await listen(id);
  await second.until(/event: traffic\ndata: \{"weights":\{"1.0":1\}.*\n\nid: \d+\nevent: resumed/);
  await second.leave();
});

const BAD: { name: string; method: string; path: string; body?: unknown; status: number; says: RegExp }[] = [
  {
    name: 'an unknown node',
    method: 'POST',
    path: 'nodes/vm-7/drain',
    status: 404,
    says: /no node "vm-7"; there are: vm-1, vm-2/,
  },
  {
    name: 'an unknown node to put back',
    method: 'POST',
    path: 'nodes/vm-7/undrain',
    status: 404,
    says: /no node/,
  },
  { name: 'an unknown node to remove', method: 'DELETE', path: 'nodes/vm-7', status: 404, says: /no node/ },
  {
    name: 'a wait that is none',
    method: 'POST',
    path: 'nodes/vm-1/drain?wait=soon',
    status: 400,
    says: /wait: found "soon"; allowed/,
  },
  {
    name: 'a wait without end',
    method: 'POST',
    path: 'nodes/vm-1/drain?wait=9h',
    status: 400,
    says: /up to 10m/,
  },
  { name: 'a drain by GET', method: 'GET', path: 'nodes/vm-1/drain', status: 405, says: /method/ },
  { name: 'an odd name', method: 'PUT', path: 'nodes/%2e%2e%2f', body: {}, status: 400, says: /called by/ },
  {
    name: 'a node that is nowhere',
    method: 'PUT',
    path: 'nodes/x',
    body: { agent: 'no url' },
    status: 400,
    says: /http:\/\/10\.0\.0\.14:8001/,
  },
  {
    name: 'a node with a password',
    method: 'PUT',
    path: 'nodes/x',
    body: { url: 'http://a:b@h:1' },
    status: 400,
    says: /send /,
  },
  {
    name: 'no slots',
    method: 'PUT',
    path: 'nodes/x',
    body: { url: 'http://h:1', slots: 0 },
    status: 400,
    says: /send /,
  },
  {
    name: 'a taken id',
    method: 'PUT',
    path: 'nodes/vm-1',
    body: { url: 'http://127.0.0.1:9' },
    status: 409,
    says: /vm-1 is the node at/,
  },
  {
    name: 'a bad weight',
    method: 'PUT',
    path: 'traffic',
    body: { '1.0': -3 },
    status: 400,
    says: /weight of 1\.0 is -3/,
  },
  {
    name: 'weights of 0',
    method: 'PUT',
    path: 'traffic',
    body: { '1.0': 0 },
    status: 400,
    says: /All weights are 0/,
  },
  { name: 'weights in a list', method: 'PUT', path: 'traffic', body: [1], status: 400, says: /Send \{/ },
  { name: 'no JSON', method: 'PUT', path: 'traffic', body: '{', status: 400, says: /not JSON/ },
  {
    name: 'a rollback to a base without share',
    method: 'PUT',
    path: 'traffic',
    body: { weights: { a: 1 }, rollback: { base: 'b' } },
    status: 400,
    says: /b has no share/,
  },
  {
    name: 'a rollback with an unknown word',
    method: 'PUT',
    path: 'traffic',
    body: { weights: { a: 1 }, rollback: { max: 1 } },
    status: 400,
    says: /rollback/,
  },
  {
    name: 'a body without end',
    method: 'PUT',
    path: 'traffic',
    body: `"${'x'.repeat(70_000)}"`,
    status: 413,
    says: /64KiB/,
  },
  { name: 'an unknown call', method: 'GET', path: 'nonsense', status: 404, says: /nothing here/ },
];
test('what cannot be done is refused with a sentence, and changes nothing', async (context) => {
  const { balancer } = await twoNodes(context);
  const before = (await balancer.admin('GET', 'status')).body;
  for (const { name, method, path, body, status, says } of BAD) {
    const answer = await balancer.admin(method, path, body);
    assert.equal(answer.status, status, `${name}: ${JSON.stringify(answer.body)}`);
    assert.match(detail(answer), says, name);
  }
  const after = (await balancer.admin('GET', 'status')).body;
  assert.deepEqual({ ...after, upstreams: [] }, { ...before, upstreams: [] });
  const lines = balancer.lines.filter(({ audit }) => audit === true);
  assert.equal(lines.length, BAD.length + 2, 'each call left its line');
});

test('a release that nobody runs is refused before a byte of the picture is read', async (context) => {
  const { balancer } = await twoNodes(context);
  for (const release of ['9.9', '../1.0']) {
    const response = await send(balancer, 'a', { 'x-release': release });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /no worker runs this release/);
  }
});

test('what a release drew that has no share any more is not given from the cache', async (context) => {
  const { balancer, upstreams } = await twoNodes(context, ['1.0', '1.1'], {
    TOONFLEET_BALANCER__CACHE: 'true',
  });
  for (const [index, upstream] of upstreams.entries()) {
    const weights = ['abc', 'def'][index];
    upstream.styles = [{ ...STYLE, version: `${weights}-1` }];
    upstream.behaviour = (arrival) => {
      arrival.response.setHeader('x-model', `${weights}; variant=full`);
      const { body, response } = arrival;
      response.writeHead(200, {
        'content-type': 'image/png',
        'content-length': body.length,
        'x-style': 'meadow',
      });
      response.end(body);
    };
  }
  for (const { id } of balancer.pool.upstreams())
    balancer.pool.learnStyles(id, upstreams.find(({ url }) => id.startsWith(url))?.styles ?? []);
  const ask = async () => {
    const response = await send(balancer, 'the same photo');
    await response.arrayBuffer();
    return [response.headers.get('x-cache'), response.headers.get('x-release')];
  };
  await balancer.admin('PUT', 'traffic', { '1.0': 0, '1.1': 1 });
  assert.deepEqual(await ask(), ['miss', '1.1']);
  assert.equal((await ask())[0], 'hit');
  await balancer.admin('PUT', 'traffic', { '1.0': 1, '1.1': 0 });
  assert.deepEqual(await ask(), ['miss', '1.0']);
});

test('in the middle of an update the release without a weight takes over, and the log says so', async (context) => {
  const { agents, balancer } = await twoNodes(context, ['1.0', '1.0']);
  await balancer.admin('PUT', 'traffic', { '1.0': 1 });
  assert.equal(await drawn(balancer, 'before'), '1.0');
  for (const agent of agents) agent.roster = { ...agent.roster, release: '1.1' };
  await balancer.roster.refresh();
  assert.equal(await drawn(balancer, 'after'), '1.1');
  await balancer.logged(({ message }) => message.startsWith('no release that has a weight can work'));
});

test('a picture of a canary is judged by the work before it on the canary, not by the whole line', async (context) => {
  const { balancer, upstreams } = await twoNodes(context);
  for (const upstream of upstreams) upstream.behaviour = () => {};
  await balancer.admin('PUT', 'traffic', { '1.0': 100, '1.1': 0 });
  const expectedMs = 1000;
  const entrant = (release: string) => ({
    want: {
      style: undefined,
      priority: 'interactive' as const,
      expectedMs,
      tried: NOWHERE,
      lane: balancer.traffic.laneFor('c', { 'x-release': release }),
    },
    arrivedAt: performance.now(),
    deadlineAt: performance.now() + 4500,
    returning: false,
  });
  const claim = await balancer.dispatch.enter(entrant('1.0')).claim;
  const tickets = [entrant('1.1'), entrant('1.0'), entrant('1.0')].map((each) =>
    balancer.dispatch.enter(each),
  );
  await tickets[0]?.claim;
  // Before it on the base: one that runs, two that wait. Together with them it would be too late.
  assert.throws(
    () => balancer.dispatch.judge({ ...entrant('1.0'), deadlineAt: performance.now() + 3500 }),
    ToonError,
  );
  assert.doesNotThrow(() =>
    balancer.dispatch.judge({ ...entrant('1.1'), deadlineAt: performance.now() + 3500 }),
  );
  for (const ticket of tickets) {
    ticket.claim.catch(() => {});
    ticket.leave();
  }
  claim.release();
});
