// The response cache with real workers and a real Redis that two balancers share.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Redis } from 'ioredis';
import { type Cluster, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';
import { decode, photo } from './pictures.ts';
import { NO_REDIS, startRedis } from './redis.ts';

const NAMES = 'toonfleet:cache:1:*';

async function draw(cluster: Cluster, picture: Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`${cluster.url}/v1/images?max_side=128`, {
    method: 'POST',
    body: new Uint8Array(picture),
    headers,
    signal: AbortSignal.timeout(30_000),
  });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, cache: response.headers.get('x-cache'), body };
}

/** The value of one series; undefined while it does not exist. */
async function series(cluster: Cluster, name: string): Promise<number | undefined> {
  const text = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
const HITS = 'toonfleet_cache_requests_total{result="hit"}';
const STORE_UP = 'toonfleet_cache_store_up';
const untilStore = (clusters: readonly Cluster[], up: number) =>
  until(
    async () => (await Promise.all(clusters.map((each) => series(each, STORE_UP)))).every((is) => is === up),
    15_000,
    () => `a balancer does not know that its Redis is ${up ? 'there' : 'gone'}`,
  );

test('two balancers share what was drawn', { skip: NO_REDIS }, async (context) => {
  const redis = await startRedis(context, '--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru');
  const client = new Redis(redis.url, { lazyConnect: true, retryStrategy: () => 200 });
  client.on('error', () => {});
  context.after(() => client.disconnect());
  await client.connect();
  const cache = {
    TOONFLEET_BALANCER__CACHE: 'true',
    TOONFLEET_BALANCER__CACHE__REDIS_URL: redis.url,
    // A busy machine is not what is tried here.
    TOONFLEET_BALANCER__CACHE__REDIS_TIMEOUT: '2s',
    TOONFLEET_NODE__KEY: 'a-key-for-this-test-alone',
  };
  const first = await startCluster(await site(context, cache), { args: ['--verbose'] });
  const second = await startCluster(
    await site(context, { ...cache, TOONFLEET_NODES: JSON.stringify([{ agent: first.agentUrl }]) }),
    { args: ['--role', 'balancer', '--verbose'] },
  );
  const both = [first, second];
  await until(
    async () => (await fetch(`${second.url}/ready`)).ok,
    30_000,
    () => `the second balancer sees no worker:\n${second.output()}`,
  );
  await untilStore(both, 1);

  const stored = async (count: number) => {
    let names: string[] = [];
    await until(
      async () => {
        names = await client.keys(NAMES);
        return names.length === count;
      },
      10_000,
      () => `${names.length} records instead of ${count}`,
    );
    return names;
  };

  await context.test('what one has drawn the other gives, without a worker', async () => {
    const picture = await photo(1, 128, 96);
    const drawn = await draw(first, picture);
    assert.deepEqual([drawn.status, drawn.cache], [200, 'miss']);
    await stored(1);
    const given = await draw(second, picture);
    assert.deepEqual([given.status, given.cache], [200, 'hit']);
    assert.deepEqual(given.body, drawn.body);
    assert.equal((await decode(given.body)).width, 128);
    assert.equal(await series(second, 'toonfleet_cache_store_total{op="get",result="hit"}'), 1);
    assert.ok((await client.pttl((await stored(1))[0] ?? '')) > 0, 'records end');
  });

  await context.test('wrong bytes in Redis are never given', async () => {
    await client.flushall();
    await draw(first, await photo(10, 128, 96));
    const [another = ''] = await stored(1);
    const wrong = [
      (whole: Buffer) => flipped(whole, whole.length - 100),
      (whole: Buffer) => flipped(whole, 50),
      (whole: Buffer) => whole.subarray(0, -1),
      () => Buffer.from('rubbish'),
      async () => (await client.getBuffer(another)) ?? assert.fail(),
    ];
    for (const [index, make] of wrong.entries()) {
      const known = new Set(await client.keys(NAMES));
      const picture = await photo(11 + index, 128, 96);
      const drawn = await draw(first, picture);
      const name = (await stored(known.size + 1)).find((each) => !known.has(each)) ?? assert.fail();
      await client.set(name, await make((await client.getBuffer(name)) ?? assert.fail()));
      const again = await draw(second, picture);
      assert.deepEqual([again.status, again.cache], [200, 'miss'], `wrong bytes ${index}`);
      assert.deepEqual(again.body, drawn.body);
    }
    const corrupt = 'toonfleet_cache_store_total{op="get",result="corrupt"}';
    assert.equal(await series(second, corrupt), wrong.length);
    assert.match(second.output(), /is not what was written/);
  });

  await context.test('a Redis that is killed under load costs no picture', async () => {
    // Photos of which each balancer sees every one: one draws it, the other asks Redis; and each asks for its own first.
    const base = await photo(100, 128, 96);
    const picture = (at: number) => Buffer.concat([base, Buffer.from(` ${at}`)]);
    const statuses: number[] = [];
    let killed: Promise<void> | undefined;
    const caller = async (cluster: Cluster, from: number, step: number) => {
      for (let at = from; at >= 0 && at < 120; at += step) {
        statuses.push((await draw(cluster, picture(at))).status);
        if (statuses.length === 120) killed = redis.kill();
      }
    };
    await Promise.all([
      caller(first, 0, 2),
      caller(first, 119, -2),
      caller(second, 118, -2),
      caller(second, 1, 2),
    ]);
    await killed;
    assert.equal(statuses.length, 240);
    assert.deepEqual([...new Set(statuses)], [200]);
    await untilStore(both, 0);
    assert.match(second.output(), /shared cache does not answer/);
    const alone = await photo(200, 128, 96);
    assert.equal((await draw(second, alone)).cache, 'miss');
    assert.equal((await draw(second, alone)).cache, 'hit', 'memory goes on');

    await redis.start();
    await untilStore(both, 1);
    const back = await photo(201, 128, 96);
    assert.equal((await draw(first, back)).cache, 'miss');
    await until(
      async () => (await draw(second, back)).cache === 'hit',
      10_000,
      () => 'nothing is shared again',
    );
  });

  await context.test('a Redis that is full is told of, and still read', async () => {
    const picture = await photo(300, 128, 96);
    await draw(first, picture);
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await client.config('SET', 'maxmemory', '1');
    const full = 'toonfleet_cache_store_total{op="put",result="full"}';
    for (let seed = 301; seed < 305; seed++)
      assert.equal((await draw(first, await photo(seed, 128, 96))).status, 200);
    await until(
      async () => ((await series(first, full)) ?? 0) >= 3,
      10_000,
      () => 'nothing was refused',
    );
    await until(
      () => /shared cache takes no pictures/.test(first.output()),
      10_000,
      () => `nobody was told:\n${first.output()}`,
    );
    assert.equal((await draw(second, picture)).cache, 'hit');
    assert.equal(await series(first, STORE_UP), 1);
    await client.config('SET', 'maxmemory', '64mb');
  });

  await context.test('a load test sends what no cache knows', async () => {
    const before = await series(first, HITS);
    const args =
      '--plan steps --users 2 --duration 3s --sizes 128x128 --p95 off --cpu off --memory off --agents off';
    const report = join(first.cwd, 'run.json');
    const { code, output } = await toonfleet(
      first,
      ...['loadtest', first.url, ...args.split(' '), '--max-late', '5s', '--json', report],
    );
    assert.equal(code, 0, output);
    const { steps } = JSON.parse(readFileSync(report, 'utf8')) as { steps: { cache_hits: number }[] };
    assert.deepEqual(
      steps.map(({ cache_hits }) => cache_hits),
      [0],
    );
    assert.equal(await series(first, HITS), before);
  });
});

const WEIGHTS = join(process.env.TOONFLEET_TEST_ASSETS ?? '../shared', 'models/AnimeGANv3_tiny_Cute.onnx');
const NO_WEIGHTS = !existsSync(WEIGHTS) && `${WEIGHTS} is not there: no second model to draw a style with`;

test('after a new model no old picture is given', { skip: NO_WEIGHTS }, async (context) => {
  const cluster = await startCluster(await site(context, { TOONFLEET_BALANCER__CACHE: 'true' }));
  await untilWorkers(cluster, 2);
  const picture = await photo(1, 128, 96);
  const ask = async () => {
    const response = await fetch(`${cluster.url}/v1/images?style=cute&max_side=128`, {
      method: 'POST',
      body: new Uint8Array(picture),
    });
    const body = Buffer.from(await response.arrayBuffer());
    return { style: response.headers.get('x-style'), cache: response.headers.get('x-cache'), body };
  };
  const first = await ask();
  assert.deepEqual([first.style, first.cache], ['meadow', 'miss'], 'the nearest embedded style stands in');
  assert.equal((await ask()).cache, 'hit');

  const words = ['--name', 'cute-weights', '--style', 'cute:Cute', '--multiple', '16', '--min-side', '256'];
  const licence = ['--licence', 'for this test only', '--accept-licence'];
  const added = await toonfleet(cluster, 'models', 'add', WEIGHTS, ...words, ...licence);
  assert.equal(added.code, 0, added.output);
  const old = new Set((await cluster.roster()).workers.map(({ pid }) => pid));
  const reloaded = await toonfleet(cluster, 'reload');
  assert.equal(reloaded.code, 0, reloaded.output);
  await untilWorkers(cluster, 2, (pid) => !old.has(pid));

  const drawn = await ask();
  assert.deepEqual([drawn.style, drawn.cache], ['cute', 'miss']);
  assert.notDeepEqual(drawn.body, first.body);
  assert.equal((await ask()).cache, 'hit');
});

/** The same bytes but one. */
function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}
