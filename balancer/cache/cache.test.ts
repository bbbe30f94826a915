import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import test, { type TestContext } from 'node:test';
import { parseServerTiming, type Style } from '../../config/contract.ts';
import { readImageRequest } from '../../config/image-request.ts';
import { SILENT } from '../../ops/process/log.ts';
import {
  type Behaviour,
  echo,
  picture,
  STYLE,
  startBalancer,
  startUpstream,
  type TestBalancer,
  type TestUpstream,
} from '../passage/test-upstream.ts';
import type { Trip } from '../passage/trip.ts';
import { startAdmin } from '../traffic/test-admin.ts';
import { ResponseCache } from './cache.ts';
import { sha256 } from './key.ts';

const VERSIONED: Style = { ...STYLE, version: 'abc-1' };
const SKY: Style = { ...STYLE, id: 'sky', aliases: ['shinkai_53'], default: false, version: 'abc-1' };

/** A worker that tells its versions. */
async function worker(context: TestContext, behaviour: Behaviour = echo, styles: Style[] = [VERSIONED, SKY]) {
  const upstream = await startUpstream(context, behaviour);
  upstream.styles = styles;
  return upstream;
}

/** A balancer with its cache on. */
const caching = (
  context: TestContext,
  upstreams: readonly TestUpstream[],
  env: Readonly<Record<string, string>> = {},
) => startBalancer(context, upstreams, { TOONFLEET_BALANCER__CACHE: 'true', ...env });

interface Got {
  readonly status: number;
  readonly cache: string | null;
  readonly headers: Headers;
  readonly body: Buffer;
}
async function draw(
  balancer: TestBalancer,
  photo: Buffer,
  path = '/v1/images?format=png',
  headers: Record<string, string> = {},
  signal = AbortSignal.timeout(10_000),
): Promise<Got> {
  const response = await fetch(balancer.url + path, {
    method: 'POST',
    body: new Uint8Array(photo),
    headers,
    signal,
  });
  return {
    status: response.status,
    cache: response.headers.get('x-cache'),
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  };
}
const photo = () => picture(randomBytes(2000));
const counted = async ({ metrics }: TestBalancer) =>
  Object.fromEntries(
    (await metrics.cacheRequests.get()).values.map(({ labels, value }) => [labels.result, value]),
  );

/** A worker's picture request whose answer waits for the test. */
function held() {
  const arrivals: Parameters<Behaviour>[0][] = [];
  const watchers = new Set<() => void>();
  const behaviour: Behaviour = (arrival) => {
    arrivals.push(arrival);
    for (const watcher of watchers) watcher();
    watchers.clear();
  };
  return {
    behaviour,
    /** Resolves when a worker, whichever, holds a picture. */
    holding: async () => {
      while (arrivals.length === 0) await new Promise<void>((resolve) => watchers.add(resolve));
    },
    release: () => {
      for (const arrival of arrivals.splice(0)) echo(arrival);
    },
    drop: () => {
      for (const { request } of arrivals.splice(0)) request.socket.destroy();
    },
  };
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** Resolves when so many callers wait for the drawing of somebody else. */
async function following(balancer: TestBalancer, callers: number): Promise<void> {
  while (balancer.cache.status().waiting !== callers) await turn();
}
/** Resolves when so many pictures wait for a slot. */
async function queued(balancer: TestBalancer, pictures: number): Promise<void> {
  while (balancer.dispatch.queued !== pictures) await turn();
}

test('without the setting nothing is kept, and the answer says so', async (context) => {
  const upstream = await worker(context);
  const balancer = await startBalancer(context, [upstream]);
  const same = photo();
  assert.equal((await draw(balancer, same)).cache, 'bypass');
  assert.equal((await draw(balancer, same)).cache, 'bypass');
  assert.equal(upstream.arrivals.length, 2);
});

test('the second time the picture comes from the cache, with its own times and the worker’s other headers', async (context) => {
  const upstream = await worker(context);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  const first = await draw(balancer, same, undefined, { 'x-request-id': 'one' });
  const second = await draw(balancer, same, undefined, { 'x-request-id': 'two' });
  assert.deepEqual([first.cache, second.cache], ['miss', 'hit']);
  assert.deepEqual(second.body, first.body);
  assert.equal(upstream.arrivals.length, 1);
  for (const name of ['content-type', 'x-style', 'x-model', 'x-node', 'content-length'])
    assert.equal(second.headers.get(name), first.headers.get(name), name);
  assert.equal(second.headers.get('x-request-id'), 'two');
  assert.match(second.headers.get('server-timing') ?? '', /^upload;dur=[\d.]+, total;dur=[\d.]+$/);
  const line = await balancer.logged(({ request_id }) => request_id === 'two');
  assert.equal(line.cache, 'hit');
  assert.deepEqual(await counted(balancer), { hit: 1, miss: 1 });
});

test('an alias and its style are the same picture; every other wish is another one', async (context) => {
  const upstream = await worker(context, (arrival) =>
    new URL(arrival.url, 'http://x').searchParams.get('style')?.startsWith('s')
      ? answerAs('sky', 'abc')(arrival)
      : echo(arrival),
  );
  const balancer = await caching(context, [upstream]);
  const same = photo();
  const ask = async (path: string) => (await draw(balancer, same, path)).cache;
  assert.equal(await ask('/v1/images'), 'miss');
  for (const equal of ['?style=meadow', '?style=HAYAO-64', '?format=png', '?quality=50', '?max_side=1024'])
    assert.equal(await ask(`/v1/images${equal}`), 'hit', equal);
  assert.equal(await ask('/v1/images?style=sky'), 'miss');
  assert.equal(await ask('/v1/images?style=shinkai_53'), 'hit');
  for (const other of ['?max_side=512', '?effort=fast'])
    assert.equal(await ask(`/v1/images${other}`), 'miss', other);
  assert.equal(await ask('/transform'), 'miss');
  assert.equal((await draw(balancer, photo())).cache, 'miss');
});

/** An answer in a style, by a model. */
const answerAs =
  (style: string, model: string, more: Record<string, string> = {}): Behaviour =>
  ({ body, response }) => {
    const answer = Buffer.concat([body, Buffer.from(model)]);
    response.writeHead(200, {
      'content-type': 'image/png',
      'content-length': answer.length,
      'x-style': style,
      'x-model': `${model}; variant=f32`,
      ...more,
    });
    response.end(answer);
  };

test('JSON answers, answers that depend on load, and what a worker forbids are never kept', async (context) => {
  const upstream = await worker(context, answerAs('meadow', 'abc', { 'cache-control': 'no-store' }));
  const balancer = await caching(context, [upstream]);
  const same = photo();
  for (const [path, result] of [
    ['/v1/images?format=json', 'bypass'],
    ['/v1/images?effort=auto', 'bypass'],
    ['/v1/images', 'miss'],
  ] as const)
    for (const _ of [1, 2]) assert.equal((await draw(balancer, same, path)).cache, result, path);
  assert.equal(upstream.arrivals.length, 6);
  assert.equal(balancer.cache.status().pictures, 0);
});

test('a refused picture is not kept', async (context) => {
  const upstream = await worker(context, ({ response }) => {
    response.writeHead(422, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
  });
  const balancer = await caching(context, [upstream]);
  const same = photo();
  for (const _ of [1, 2]) assert.equal((await draw(balancer, same)).status, 422);
  assert.equal(upstream.arrivals.length, 2);
});

test('no-cache draws anew and keeps that; no-store leaves no trace', async (context) => {
  const upstream = await worker(context);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  assert.equal((await draw(balancer, same, undefined, { 'cache-control': 'no-store' })).cache, 'bypass');
  assert.equal(balancer.cache.status().pictures, 0);
  assert.equal((await draw(balancer, same, undefined, { 'cache-control': 'no-cache' })).cache, 'bypass');
  assert.equal((await draw(balancer, same)).cache, 'hit');
  upstream.behaviour = answerAs('meadow', 'abc');
  assert.equal((await draw(balancer, same, undefined, { 'cache-control': 'no-cache' })).cache, 'bypass');
  assert.deepEqual((await draw(balancer, same)).body, Buffer.concat([same, Buffer.from('abc')]));
  assert.deepEqual(await counted(balancer), { bypass: 3, hit: 2 });
});

test('a hit takes no slot and needs no worker that is usable', async (context) => {
  const hold = held();
  const upstream = await worker(context);
  const balancer = await caching(context, [upstream], { TOONFLEET_BALANCER__QUEUE_LENGTH: '0' });
  const same = photo();
  await draw(balancer, same);
  upstream.behaviour = hold.behaviour;
  const busy = draw(balancer, photo());
  await upstream.arrived(2);
  assert.equal((await draw(balancer, same, undefined, { 'x-deadline-ms': '500' })).cache, 'hit');
  assert.equal((await draw(balancer, photo())).status, 503);
  hold.release();
  await busy;
  await upstream.die();
  await balancer.logged(({ message }) => message === 'upstream ejected');
  assert.equal((await draw(balancer, same)).cache, 'hit');
  assert.equal((await draw(balancer, photo())).status, 503);
});

test('equal requests at the same time are drawn once', async (context) => {
  const hold = held();
  const upstream = await worker(context, hold.behaviour);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  const answers = Array.from({ length: 8 }, () => draw(balancer, same));
  await upstream.arrived(1);
  await following(balancer, 7);
  hold.release();
  const got = await Promise.all(answers);
  assert.deepEqual(got.map(({ cache }) => cache).sort(), [
    'hit',
    'hit',
    'hit',
    'hit',
    'hit',
    'hit',
    'hit',
    'miss',
  ]);
  for (const { body } of got) assert.deepEqual(body, same);
  assert.equal(upstream.arrivals.length, 1);
  assert.equal(balancer.cache.status().drawing, 0);
});

test('a leader who leaves the line hands it on', async (context) => {
  const hold = held();
  const upstream = await worker(context, hold.behaviour);
  const balancer = await caching(context, [upstream]);
  const busy = draw(balancer, photo());
  await upstream.arrived(1);
  const same = photo();
  const leaving = new AbortController();
  const leader = draw(balancer, same, undefined, {}, leaving.signal).catch(() => 'left');
  await queued(balancer, 1);
  const follower = draw(balancer, same);
  await following(balancer, 1);
  leaving.abort();
  assert.equal(await leader, 'left');
  await balancer.logged(({ code }) => code === 'client_gone');
  hold.release();
  await busy;
  await upstream.arrived(2);
  hold.release();
  const { status, cache, body } = await follower;
  assert.deepEqual([status, cache], [200, 'miss']);
  assert.deepEqual(body, same);
});

test('a leader who leaves while his picture is drawn leaves it to those behind him', async (context) => {
  const hold = held();
  const upstream = await worker(context, hold.behaviour);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  // On a connection of his own, whose end can be seen.
  const leader = http.request(`${balancer.url}/v1/images?format=png`, { method: 'POST', agent: false });
  leader.on('error', () => {});
  leader.end(same);
  await upstream.arrived(1);
  const follower = draw(balancer, same);
  await following(balancer, 1);
  leader.destroy();
  while ((await balancer.publicServer.connections()) > 1) await turn();
  hold.release();
  const { status, cache } = await follower;
  assert.deepEqual([status, cache], [200, 'hit']);
  assert.equal(upstream.arrivals.length, 1);
  assert.equal((await balancer.logged(({ code }) => code === 'client_gone')).end, 'CN');
  while (balancer.budget.held > 0) await turn();
});

test('a leader whose workers die does not fail those behind him', async (context) => {
  const upstreams = [await worker(context), await worker(context), await worker(context)];
  const hold = held();
  for (const upstream of upstreams) upstream.behaviour = hold.behaviour;
  // Whoever died stays out until the end, however slow the machine.
  const balancer = await caching(context, upstreams, { TOONFLEET_BALANCER__RISE: '10' });
  const same = photo();
  const leader = draw(balancer, same);
  await hold.holding();
  const follower = draw(balancer, same);
  await following(balancer, 1);
  hold.drop();
  await hold.holding();
  hold.drop();
  assert.equal((await leader).status, 502);
  await hold.holding();
  hold.release();
  const { status, headers } = await follower;
  assert.equal(status, 200);
  // Two deaths came before its turn, and the balancer looks around for 10 ms after each.
  const { queue } = parseServerTiming(headers.get('server-timing') ?? undefined);
  assert.ok((queue ?? 0) >= 10, `it says that it waited ${queue} ms`);
});

test('each keeps his own deadline behind another', async (context) => {
  const hold = held();
  const upstream = await worker(context, hold.behaviour);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  const leader = draw(balancer, same);
  await upstream.arrived(1);
  const hasty = await draw(balancer, same, undefined, { 'x-deadline-ms': '150' });
  assert.equal(hasty.status, 504);
  hold.release();
  assert.equal((await leader).status, 200);
});

test('behind a picture that still waits, a deadline is told as the line tells it', async (context) => {
  const hold = held();
  const upstream = await worker(context, hold.behaviour);
  const balancer = await caching(context, [upstream]);
  const busy = draw(balancer, photo());
  await upstream.arrived(1);
  const same = photo();
  const leader = draw(balancer, same);
  await queued(balancer, 1);
  const hasty = await draw(balancer, same, undefined, { 'x-deadline-ms': '150' });
  assert.equal(hasty.status, 503);
  assert.ok(Number(hasty.headers.get('retry-after')) >= 1);
  hold.release();
  await busy;
  await upstream.arrived(2);
  hold.release();
  assert.equal((await leader).status, 200);
});

test('a new model never gives an old picture', async (context) => {
  const upstream = await worker(context, answerAs('meadow', 'abc'));
  const balancer = await caching(context, [upstream]);
  const same = photo();
  await draw(balancer, same);
  assert.equal((await draw(balancer, same)).cache, 'hit');
  // Started again with another model, as a worker without an agent would be.
  upstream.ready = { status: 503, body: { status: 'loading' } };
  upstream.styles = [{ ...VERSIONED, version: 'def-1' }];
  upstream.behaviour = answerAs('meadow', 'def');
  await balancer.logged(({ message, to }) => message === 'upstream changed' && to === 'joining');
  const from = balancer.lines.length;
  upstream.ready = { status: 200, body: { status: 'ready', node: 'vm-test' } };
  await balancer.logged(({ message, to }) => message === 'upstream changed' && to === 'up', from);
  const after = await draw(balancer, same);
  assert.notEqual(after.cache, 'hit');
  assert.match(after.headers.get('x-model') ?? '', /^def/);
  assert.match((await draw(balancer, same)).headers.get('x-model') ?? '', /^def/);
});

test('traffic that goes to another release gets no picture of the one before', async (context) => {
  const [blue, green] = [await worker(context), await worker(context)];
  const upstreams = [
    { url: blue.url, release: 'blue' },
    { url: green.url, release: 'green' },
  ];
  const balancer = await startAdmin(
    context,
    [],
    { TOONFLEET_BALANCER__CACHE: 'true', TOONFLEET_UPSTREAMS: JSON.stringify(upstreams) },
    2,
  );
  const same = photo();
  const ask = async (headers: Record<string, string> = {}) => {
    const got = await draw(balancer, same, undefined, headers);
    return `${got.cache} ${got.headers.get('x-release')}`;
  };
  const weights = async (blue: number, green: number) =>
    assert.equal((await balancer.admin('PUT', 'traffic', { weights: { blue, green } })).status, 200);
  await weights(1, 0);
  assert.deepEqual([await ask(), await ask()], ['miss blue', 'hit blue']);
  await weights(0, 1);
  assert.deepEqual([await ask(), await ask()], ['miss green', 'hit green']);
  await weights(1, 0);
  assert.equal(await ask(), 'hit blue');
  assert.equal(await ask({ 'x-release': 'green' }), 'bypass green');
  await blue.die();
  await green.die();
  await balancer.logged(({ message, upstream }) => message === 'upstream ejected' && upstream === blue.url);
  await balancer.logged(({ message, upstream }) => message === 'upstream ejected' && upstream === green.url);
  assert.equal(await ask(), 'hit blue', 'with no worker left, it is still its own release');
});

test('a worker that answers by another model than it told of fills nobody’s place', async (context) => {
  const upstream = await worker(context, answerAs('meadow', 'secretly-new'));
  const balancer = await caching(context, [upstream]);
  const same = photo();
  for (const _ of [1, 2]) assert.equal((await draw(balancer, same)).cache, 'miss');
});

test('pictures of a worker that tells no version are not kept', async (context) => {
  const upstream = await worker(context, echo, [STYLE]);
  const balancer = await caching(context, [upstream]);
  const same = photo();
  for (const _ of [1, 2]) assert.equal((await draw(balancer, same)).cache, 'bypass');
});

test('memory is bounded by bytes, and the picture that was asked for longest ago goes first', async (context) => {
  const upstream = await worker(context);
  const balancer = await caching(context, [upstream], { TOONFLEET_BALANCER__CACHE__SIZE: '1MiB' });
  const photos = Array.from({ length: 6 }, () => picture(randomBytes(200_000)));
  for (const each of photos) await draw(balancer, each);
  assert.ok(balancer.cache.status().bytes <= 1024 ** 2);
  assert.equal((await draw(balancer, photos[5] ?? photo())).cache, 'hit');
  assert.equal((await draw(balancer, photos[0] ?? photo())).cache, 'miss');
});

test('a picture is kept for its time and no longer', async (context) => {
  let time = 0;
  const upstream = await worker(context);
  const { pool, metrics, settings } = await caching(context, [upstream]);
  const cache = new ResponseCache({
    settings: { ...settings.balancer.cache, ttl: 1000 },
    nodeKey: undefined,
    pool,
    metrics,
    log: SILENT,
    now: () => time,
  });
  const headers = { 'content-type': 'image/png', 'x-style': 'meadow', 'x-model': 'abc; variant=f32' };
  const request = readImageRequest(
    { path: '/transform', query: new URLSearchParams(), fields: [], pictureField: 'file', accept: undefined },
    settings.limits,
  );
  const ask = async () => {
    const trip = { request: { headers: {} }, deadlineAt: 60_000, startedAt: 0 } as unknown as Trip;
    const wanted = {
      path: '/transform',
      request,
      photoDigest: () => sha256(Buffer.from('photo')),
      priority: 'interactive',
      lane: () => ({ kind: 'any' as const }),
    } as const;
    await cache.answer(trip, wanted, async () => ({ status: 200, headers, body: Buffer.from('drawn') }));
    // The clock is read once a ms.
    await new Promise((resolve) => setTimeout(resolve, 2));
    return trip.cache;
  };
  const seen = [];
  for (time of [5000, 5999, 6001, 6999, 7002]) seen.push(await ask());
  assert.deepEqual(seen, ['miss', 'hit', 'miss', 'hit', 'miss']);
});
