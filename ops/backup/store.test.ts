import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { loadSettings } from '../../config/load.ts';
import { identify } from '../pm2.ts';
import { BackupFault } from './fault.ts';
import { restore } from './restore.ts';
import { alone, backUp, storeOf } from './run.ts';
import { sourcesOf } from './sources.ts';

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
const KEY = 'a node key of a test, long enough';

/** A machine with settings, state, one model and a key. */
function machine(t: TestContext, more: object = {}) {
  const root = mkdtempSync(join(tmpdir(), 'backup-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (name: string, text: string, mode = 0o644) => {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const settingsFile = write(
    'etc/toonfleet.yaml',
    stringify({
      data_dir: join(root, 'data'),
      node: { name: 'vm-1', key_file: join(root, 'etc/node.key') },
      ...more,
    }),
  );
  write('etc/node.key', KEY, 0o600);
  write('data/balancer-state.json', '{"version":1}', 0o600);
  write('data/drain.json', '{"draining":true}', 0o600);
  write('data/agent.json', '{"workers":[]}');
  write('data/models/one.onnx', 'weights');
  write('data/models/one.int8.onnx', 'smaller weights');
  write('data/models/portrait.mask', 'a mask');
  write('data/scale.json', '{"workers":3}');
  write('data/models/left-over.onnx', 'nobody knows it');
  write('data/models/manifest.yaml', manifest('weights'));
  const settings = () => loadSettings({ file: settingsFile, env: {}, cwd: root });
  return { root, write, settings, read: (name: string) => readFileSync(join(root, name), 'utf8') };
}

function manifest(weights: string): string {
  return stringify({
    models: [
      {
        name: 'one',
        file: 'one.onnx',
        sha256: digest(weights),
        variants: [{ name: 'int8', file: 'one.int8.onnx', sha256: digest('smaller weights') }],
        styles: [{ id: 'one' }],
      },
      // A composite has no file of its own but its mask.
      {
        name: 'portrait',
        kind: 'face-composite',
        face: 'one',
        mask: { file: 'portrait.mask', sha256: digest('a mask') },
      },
    ],
  });
}

const FILES = [
  'models/manifest.yaml',
  'models/one.int8.onnx',
  'models/one.onnx',
  'models/portrait.mask',
  'settings/toonfleet.yaml',
  'state/balancer-state.json',
  'state/drain.json',
  'state/scale.json',
];

test('a snapshot has settings, state and the models that the manifest names, and no secret', async (t) => {
  const { settings, root } = machine(t);
  const { snapshot, bytes } = await backUp(settings(), false);
  assert.deepEqual(snapshot.files.map(({ path }) => path).sort(), FILES);
  assert.ok(bytes > 0);
  assert.deepEqual(snapshot.secrets, [
    { setting: 'node.key_file', file: join(root, 'etc/node.key'), present: true, kept: false },
  ]);
  const store = storeOf(settings());
  assert.deepEqual(await store.faultsOf(snapshot.id), []);
  for (const { path } of snapshot.files)
    assert.ok(!readFileSync(join(store.pathOf(snapshot.id), path), 'utf8').includes(KEY), path);
  assert.equal(statSync(store.folder).mode & 0o777, 0o700);
});

test('secrets come along when they are asked for, for their owner alone', async (t) => {
  const { settings } = machine(t);
  const { snapshot } = await backUp(settings(), true);
  const copy = join(storeOf(settings()).pathOf(snapshot.id), 'secrets/node.key_file');
  assert.equal(readFileSync(copy, 'utf8'), KEY);
  assert.equal(statSync(copy).mode & 0o777, 0o600);
});

test('a model that two snapshots have is on the disk once, unless it has rotted there', async (t) => {
  const { settings } = machine(t);
  const store = storeOf(settings());
  const inode = (id: string) => statSync(join(store.pathOf(id), 'models/one.onnx')).ino;
  const sources = sourcesOf(settings(), false);
  const create = async () =>
    (await store.create(sources, { node: 'vm-1', version: '1' }, new Date('2026-01-01T00:00:00Z'))).id;
  const first = await create();
  const second = await create();
  assert.deepEqual([first, second], ['2026-01-01T00-00-00Z', '2026-01-01T00-00-01Z']);
  assert.equal(inode(first), inode(second));
  writeFileSync(join(store.pathOf(second), 'models/one.onnx'), 'WEIGHTS');
  const third = await create();
  assert.notEqual(inode(third), inode(second));
  assert.deepEqual(await store.faultsOf(third), []);
  assert.match((await store.faultsOf(second)).join(), /models\/one\.onnx has changed/);
});

test('what is missing, changed or too much in a snapshot is told', async (t) => {
  const { settings } = machine(t);
  const store = storeOf(settings());
  const { id } = (await backUp(settings(), false)).snapshot;
  writeFileSync(join(store.pathOf(id), 'state/more.json'), '{}');
  rmSync(join(store.pathOf(id), 'state/drain.json'));
  assert.deepEqual(await store.faultsOf(id), [
    `${id}/state/drain.json cannot be read (ENOENT)`,
    `${id}/state/more.json does not belong to it`,
  ]);
  writeFileSync(join(store.pathOf(id), 'MANIFEST.json'), '{"version":1');
  assert.match((await store.faultsOf(id)).join(), /MANIFEST\.json cannot be understood/);
});

test('half a snapshot is never listed, and the next backup takes it away', async (t) => {
  const { settings } = machine(t);
  const store = storeOf(settings());
  mkdirSync(join(store.folder, '.making-2026-01-01T00-00-00Z/models'), { recursive: true });
  mkdirSync(join(store.folder, '2026-01-01T00-00-00Z'), { recursive: true });
  assert.deepEqual(await store.list(), []);
  await assert.rejects(store.find(), /there is none/);
  await backUp(settings(), false);
  assert.deepEqual(
    readdirSync(store.folder).filter((name) => name.startsWith('.')),
    [],
  );
});

test('a model that is not what its manifest says stops the backup; the older one and its note stand', async (t) => {
  const { settings, write, read } = machine(t);
  const store = storeOf(settings());
  const good = (await backUp(settings(), false)).snapshot.id;
  const status = () => JSON.parse(read('data/backup/status.json'));
  const before = status();
  assert.deepEqual(Object.keys(before), ['last_success', 'snapshot', 'bytes', 'seconds', 'last_attempt']);
  write('data/models/one.onnx', 'weighty');
  await assert.rejects(backUp(settings(), false), /one\.onnx is not what the models' manifest says/);
  assert.deepEqual(readdirSync(store.folder), [good]);
  assert.equal(status().last_success, before.last_success);
  assert.match(status().fault, /one\.onnx/);
});

test('one backup at a time; a lock that a dead process left is taken away', async (t) => {
  const { settings, write, root } = machine(t);
  await alone(settings(), async () => {
    await assert.rejects(backUp(settings(), false), /Another backup is under way \(process \d+,/);
  });
  write('data/backup/lock', JSON.stringify({ ...identify(process.pid), since: 'long ago' }));
  await backUp(settings(), false);
  write('data/backup/lock', 'half');
  await backUp(settings(), false);
  assert.ok(!existsSync(join(root, 'data/backup/lock')));
});

test('what is lost comes back as it was', async (t) => {
  const { settings, root, read } = machine(t, { backup: { dir: join(tmpdir(), `kept-${process.pid}`) } });
  const store = storeOf(settings());
  t.after(() => rmSync(dirname(store.folder), { recursive: true, force: true }));
  const { id } = (await backUp(settings(), true)).snapshot;
  const names = ['etc/toonfleet.yaml', 'etc/node.key', 'data/models/one.onnx', 'data/balancer-state.json'];
  const before = names.map(read);
  rmSync(join(root, 'etc'), { recursive: true });
  rmSync(join(root, 'data'), { recursive: true });
  const dry = await restore(store, { id, places: {}, replace: false, dryRun: true });
  assert.ok(dry.steps.every(({ kind }) => kind === 'new'));
  assert.ok(!existsSync(join(root, 'etc')));
  const { steps, missingSecrets } = await restore(store, { id, places: {}, replace: false, dryRun: false });
  assert.equal(steps.length, FILES.length + 1);
  assert.deepEqual(missingSecrets, []);
  assert.deepEqual(names.map(read), before);
  assert.equal(statSync(join(root, 'etc/node.key')).mode & 0o777, 0o600);
  assert.ok(!readdirSync(join(root, 'data')).some((name) => name.includes('restoring')));
});

test('a secret that the snapshot does not hold is asked for', async (t) => {
  const { settings, root } = machine(t);
  const { id } = (await backUp(settings(), false)).snapshot;
  const store = storeOf(settings());
  rmSync(join(root, 'etc/node.key'));
  const { missingSecrets } = await restore(store, { id, places: {}, replace: false, dryRun: false });
  assert.deepEqual(missingSecrets, [`node.key_file (${join(root, 'etc/node.key')})`]);
});

test('nothing is replaced unasked, and what is replaced stays beside', async (t) => {
  const { settings, write, root, read } = machine(t);
  const store = storeOf(settings());
  const { id } = (await backUp(settings(), false)).snapshot;
  write('data/balancer-state.json', '{"version":1,"paused":true}');
  rmSync(join(root, 'data/drain.json'));
  const order = { id, places: {}, dryRun: false };
  await assert.rejects(restore(store, { ...order, replace: false }), /1 files are there already and differ/);
  assert.ok(!existsSync(join(root, 'data/drain.json')), 'nothing at all was done');
  for (const round of [`before-${id}`, `before-${id}.2`]) {
    const { steps } = await restore(store, { ...order, replace: true });
    assert.equal(steps.filter(({ kind }) => kind === 'replaced').length, 1);
    assert.equal(read('data/balancer-state.json'), '{"version":1}');
    assert.equal(read(`data/balancer-state.json.${round}`), '{"version":1,"paused":true}');
    write('data/balancer-state.json', '{"version":1,"paused":true}');
  }
});

test('a restore that fails half-way leaves everything as it was', async (t) => {
  const { settings, write, root, read } = machine(t);
  const store = storeOf(settings());
  const { id } = (await backUp(settings(), false)).snapshot;
  write('etc/toonfleet.yaml', 'changed: true\n');
  // A folder where the last file of the snapshot has to go: it can neither be read nor replaced as a file.
  const places = { models_dir: join(root, 'elsewhere') };
  mkdirSync(join(root, 'elsewhere/one.int8.onnx.restoring-x'), { recursive: true });
  mkdirSync(join(root, `elsewhere/one.int8.onnx.restoring-${id}`));
  await assert.rejects(
    restore(store, { id, places, replace: true, dryRun: false }),
    /Everything is as it was before it/,
  );
  assert.equal(read('etc/toonfleet.yaml'), 'changed: true\n');
  assert.deepEqual(readdirSync(join(root, 'etc')).sort(), ['node.key', 'toonfleet.yaml']);
});

test('a damaged snapshot is not restored, and neither is one under a running toonfleet', async (t) => {
  const { settings, root } = machine(t);
  const store = storeOf(settings());
  const { id } = (await backUp(settings(), false)).snapshot;
  const order = { id, places: {}, replace: true, dryRun: false };
  mkdirSync(join(root, 'data/pm2'), { recursive: true });
  const pm2 = createServer().listen(join(root, 'data/pm2/rpc.sock'));
  await once(pm2, 'listening');
  await assert.rejects(restore(store, order), /toonfleet runs with/);
  await once(pm2.close(), 'close');
  writeFileSync(join(store.pathOf(id), 'models/one.onnx'), 'rotten');
  await assert.rejects(restore(store, order), /is damaged, so nothing was restored/);
});

test('a manifest that nobody understands is told before anything is copied', (t) => {
  const { settings, write } = machine(t);
  for (const text of [
    'models: 7\n',
    '- {',
    '',
    stringify({ models: [{ name: 'x', file: '../../etc/passwd', sha256: digest('x') }] }),
  ]) {
    write('data/models/manifest.yaml', text);
    assert.throws(() => sourcesOf(settings(), false), BackupFault, text);
  }
});

test('made by root, a backup belongs to who owns the data, but for its secrets', {
  skip: process.geteuid?.() !== 0 && 'only root can give files away',
}, async (t) => {
  const { settings, root } = machine(t);
  const [service, own] = [54_321, 0];
  chownSync(join(root, 'data'), service, service);
  const { id } = (await backUp(settings(), true)).snapshot;
  const ownerOf = (name: string) => statSync(join(root, 'data/backup', name)).uid;
  const top = `snapshots/${id}`;
  for (const name of ['', 'status.json', 'snapshots', top, `${top}/MANIFEST.json`, `${top}/models/one.onnx`])
    assert.equal(ownerOf(name), service, name);
  assert.equal(ownerOf(`${top}/secrets/node.key_file`), own);
  rmSync(join(root, 'data/models'), { recursive: true });
  await restore(storeOf(settings()), { id, places: {}, replace: false, dryRun: false });
  for (const name of ['models', 'models/one.onnx'])
    assert.equal(statSync(join(root, 'data', name)).uid, service, name);
});
