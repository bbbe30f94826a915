import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { Log } from '../../ops/process/log.ts';
import { balancerMetrics } from '../../ops/process/metrics.ts';
import type { Kept } from './record.ts';
import { createSharedStore, type SharedOptions } from './redis.ts';
import { type ScriptedRedis, startScriptedRedis } from './test-redis.ts';

const PICTURE: Kept = { headers: { 'content-type': 'image/png' }, body: Buffer.from('picture') };

/** A store on a scripted Redis, its log, and what it counted. */
async function storeOn(context: TestContext, redis: ScriptedRedis, more: Partial<SharedOptions> = {}) {
  const lines: string[] = [];
  const watchers = new Set<() => void>();
  const note = (_: object, message: string) => {
    lines.push(message);
    for (const watcher of [...watchers]) watcher();
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const metrics = balancerMetrics();
  const store = createSharedStore({
    url: redis.url,
    password: undefined,
    timeoutMs: 100,
    ttlMs: 60_000,
    maxBytes: 1000,
    secret: 'secret',
    log,
    metrics,
    now: () => performance.now(),
    ...more,
  });
  context.after(() => store.close());
  const logged = async (part: string) => {
    while (!lines.some((line) => line.includes(part)))
      await new Promise<void>((resolve) => {
        const watcher = () => {
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
      });
  };
  const count = async (op: string, result: string) =>
    (await metrics.cacheStore.get()).values.find(({ labels }) => labels.op === op && labels.result === result)
      ?.value ?? 0;
  await logged('the shared cache answers');
  return { store, lines, logged, count };
}

test('a picture that was put is found, by any of its names, with the time that it has left', async (context) => {
  const { store, count } = await storeOn(context, await startScriptedRedis(context));
  store.put('b', PICTURE);
  await store.settled();
  const found = await store.get(['a', 'b']);
  assert.deepEqual([found?.name, found?.leftMs], ['b', 60_000]);
  assert.deepEqual(found?.kept.headers, PICTURE.headers);
  assert.deepEqual(found?.kept.body, PICTURE.body);
  assert.equal(await store.get(['c']), undefined);
  assert.deepEqual(
    [await count('put', 'stored'), await count('get', 'hit'), await count('get', 'miss')],
    [1, 1, 1],
  );
});

test('what is too large is not sent', async (context) => {
  const redis = await startScriptedRedis(context);
  const { store, count } = await storeOn(context, redis);
  store.put('large', { headers: {}, body: Buffer.alloc(1001) });
  await store.settled();
  assert.equal(redis.records.size, 0);
  assert.equal(await count('put', 'skipped'), 1);
});

test('a record that others wrote is taken away', async (context) => {
  const redis = await startScriptedRedis(context);
  const { store, count, lines } = await storeOn(context, redis);
  store.put('a', PICTURE);
  await store.settled();
  const [name = ''] = redis.records.keys();
  redis.records.set(name, Buffer.from('TFC1 and no more'));
  assert.equal(await store.get(['a']), undefined);
  assert.equal(await count('get', 'corrupt'), 1);
  assert.ok(lines.some((line) => line.includes('not what was written')));
  // Commands are answered in order: once this one is, so was the one before.
  await store.get(['a']);
  assert.equal(redis.records.size, 0);
});

test('a Redis that does not answer costs its bound, three times, and then nothing', async (context) => {
  const redis = await startScriptedRedis(context);
  let time = 0;
  const { store, count, logged } = await storeOn(context, redis, { now: () => time });
  redis.mode = 'stopped';
  for (let asked = 0; asked < 3; asked++) {
    const from = performance.now();
    assert.equal(await store.get(['a']), undefined);
    assert.ok(performance.now() - from < 1000);
  }
  await logged('does not answer');
  assert.equal(store.up(), false);
  const before = redis.taken.filter((name) => name === 'GET').length;
  for (let asked = 0; asked < 100; asked++) await store.get(['a']);
  assert.equal(redis.taken.filter((name) => name === 'GET').length, before);
  assert.deepEqual([await count('get', 'timeout'), await count('get', 'skipped')], [3, 100]);
  store.put('a', PICTURE);
  await store.settled();
  assert.equal(await count('put', 'skipped'), 1);
  // Going on, it is believed after one question, which waits for the end of the term.
  redis.goOn();
  assert.equal(await store.get(['a']), undefined);
  assert.equal(store.up(), false);
  time += 1000;
  await store.get(['a']);
  assert.equal(store.up(), true);
  store.put('a', PICTURE);
  await store.settled();
  assert.ok(await store.get(['a']));
});

test('a Redis that comes back is used again', async (context) => {
  const redis = await startScriptedRedis(context);
  const { store, lines, logged } = await storeOn(context, redis);
  const { port } = new URL(redis.url);
  await redis.die();
  await logged('does not answer');
  assert.equal(await store.get(['a']), undefined);
  lines.length = 0;
  redis.server.listen(Number(port), '127.0.0.1');
  await logged('the shared cache answers');
  store.put('a', PICTURE);
  await store.settled();
  assert.ok(await store.get(['a']));
});

test('a full Redis is told of once, left alone for writing, and still read', async (context) => {
  const redis = await startScriptedRedis(context);
  const { store, count, lines } = await storeOn(context, redis);
  store.put('a', PICTURE);
  await store.settled();
  redis.mode = 'full';
  for (let put = 0; put < 10; put++) {
    store.put('b', PICTURE);
    await store.settled();
  }
  assert.deepEqual([await count('put', 'full'), await count('put', 'skipped')], [3, 7]);
  assert.equal(lines.filter((line) => line.includes('takes no pictures')).length, 1);
  assert.ok(await store.get(['a']));
  assert.equal(store.up(), true);
});
