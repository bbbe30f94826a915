import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import { ToonError } from '../../config/errors.ts';
import { createFsStore } from './fs.ts';

const HOUR = 3_600_000;
const bytes = Buffer.from('a picture');

async function storeIn(t: TestContext, { budget = 1000, now = Date.now } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return { dir, store: createFsStore('vm-1', { dir, ttl: HOUR, budget }, now) };
}
const filesIn = async (dir: string) =>
  (await readdir(dir, { recursive: true, withFileTypes: true })).filter((e) => e.isFile());

test('what was put can be got, whole and in part', async (t) => {
  const { store } = await storeIn(t);
  const result = await store.get(await store.put(bytes, 'webp'));
  assert.equal(result?.kind, 'webp');
  assert.equal(result?.bytes, bytes.length);
  assert.deepEqual(await buffer(result.open(0, bytes.length - 1)), bytes);
  assert.deepEqual(await buffer(result.open(2, 4)), bytes.subarray(2, 5));
});

test('ids carry the node and cannot be guessed', async (t) => {
  const { store } = await storeIn(t);
  const ids = await Promise.all(Array.from({ length: 50 }, () => store.put(bytes.subarray(0, 1), 'png')));
  assert.equal(new Set(ids).size, 50);
  for (const id of ids) assert.match(id, /^vm-1\.[A-Za-z0-9_-]{22}$/);
});

test('ids of other nodes, other shapes and other folders are nothing', async (t) => {
  const { store, dir } = await storeIn(t);
  await writeFile(join(dir, 'secret.png'), 'secret');
  for (const id of [
    '',
    'secret',
    '../secret',
    'vm-1.../../secret',
    `vm-2.${'a'.repeat(22)}`,
    `vm-1.${'a'.repeat(22)}`,
  ])
    assert.equal(await store.get(id), undefined);
});

test('a result that is too old is not given out, and is purged with what dying workers left', async (t) => {
  let now = Date.now();
  const { store, dir } = await storeIn(t, { now: () => now });
  const id = await store.put(bytes, 'png');
  await mkdir(join(dir, 'xy'), { recursive: true });
  await writeFile(join(dir, 'xy', 'vm-1.x.png.part'), 'half');
  await utimes(join(dir, 'xy', 'vm-1.x.png.part'), new Date(now - HOUR / 2), new Date(now - HOUR / 2));
  assert.ok(await store.get(id));
  now += HOUR + 1000;
  assert.equal(await store.get(id), undefined);
  await store.purge();
  assert.deepEqual(await filesIn(dir), []);
});

test('a full store refuses, and takes again when old results are gone', async (t) => {
  let now = Date.now();
  const { store } = await storeIn(t, { budget: 2 * bytes.length, now: () => now });
  await store.put(bytes, 'png');
  await store.put(bytes, 'png');
  await assert.rejects(
    store.put(bytes, 'png'),
    (error: unknown) => error instanceof ToonError && error.code === 'storage_full',
  );
  now += HOUR + 1000;
  assert.ok(await store.put(bytes, 'png'));
});

test('what other workers put counts too', async (t) => {
  const { store, dir } = await storeIn(t, { budget: 2 * bytes.length });
  const neighbour = createFsStore('vm-1', { dir, ttl: HOUR, budget: 2 * bytes.length });
  await neighbour.put(bytes, 'png');
  await neighbour.put(bytes, 'png');
  await assert.rejects(store.put(bytes, 'png'), ToonError);
});

test('a write that fails leaves nothing behind', async (t) => {
  const { dir } = await storeIn(t);
  const file = join(dir, 'file');
  await writeFile(file, '');
  const store = createFsStore('vm-1', { dir: file, ttl: HOUR, budget: 1000 });
  await assert.rejects(store.put(bytes, 'png'));
  assert.equal((await filesIn(dir)).length, 1);
});

test('purging a folder that is not there is no fault', async () => {
  await createFsStore('vm-1', { dir: '/nowhere/results', ttl: HOUR, budget: 10 }).purge();
});
