import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';

const SCRIPT = readFileSync(new URL('ansible/files/releases.sh', import.meta.url), 'utf8');
const COMMIT = 'a'.repeat(40);

/** A node's folder, and the script fed to a shell as the plays do it. */
function node(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'releases-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const root = join(folder, 'root');
  const call = (verb: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('sh', ['-s', verb, root, ...args], {
      input: SCRIPT,
      encoding: 'utf8',
    });
    return { status, stdout: stdout.trim(), stderr: stderr.trim() };
  };
  const good = (verb: string, ...args: string[]) => {
    const { status, stdout, stderr } = call(verb, ...args);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const state = () =>
    JSON.parse(good('state')) as { current: string; previous: string; releases: { id: string }[] };
  /** Puts a tarball where the play would copy it; the answer is its digest. */
  const arrive = (id: string, says = id) => {
    const top = join(folder, `toonfleet-${id}`);
    mkdirSync(top, { recursive: true });
    const release = {
      id: says,
      version: '1.0.0',
      commit: COMMIT,
      built_at: '2026-01-01T00:00:00Z',
      node: '20.20.0',
      platform: 'linux-x64',
    };
    writeFileSync(join(top, 'RELEASE'), JSON.stringify(release));
    writeFileSync(join(top, 'content'), id.repeat(1000));
    const tarball = join(root, 'incoming', `toonfleet-${id}.tar.gz`);
    execFileSync('tar', ['-czf', tarball, '-C', folder, `toonfleet-${id}`]);
    return createHash('sha256').update(readFileSync(tarball)).digest('hex');
  };
  const install = (id: string) => {
    good('room', id, '1000', 'digest');
    const digest = arrive(id);
    good('unpack', id, digest);
    assert.equal(good('room', id, '900000000000000000', digest), 'here', 'what is there needs no room');
  };
  return { root, call, good, state, arrive, install };
}

test('a release arrives, becomes current, and the one before stays as previous', (context) => {
  const { good, state, install, root } = node(context);
  assert.deepEqual(state(), { current: '', previous: '', releases: [], lock: null });
  install('one');
  assert.equal(state().current, '', 'unpacking changes nothing that runs');
  good('switch', 'one');
  assert.deepEqual([state().current, state().previous], ['one', '']);
  install('two');
  good('switch', 'two');
  good('switch', 'two');
  assert.deepEqual(
    [state().current, state().previous],
    ['two', 'one'],
    'a second switch to the same forgets nothing',
  );
  assert.equal(readlinkSync(join(root, 'current')), 'releases/two');
  assert.deepEqual(readdirSync(join(root, 'incoming')), []);
});

test('a step back restores both links', (context) => {
  const { good, state, install } = node(context);
  for (const id of ['one', 'two', 'bad']) {
    install(id);
    good('switch', id);
  }
  good('back', 'two', 'one');
  assert.deepEqual([state().current, state().previous], ['two', 'one']);
  good('back', 'one');
  assert.deepEqual([state().current, state().previous], ['one', '']);
});

test('what was damaged on its way is refused, and nothing of it stays', (context) => {
  const { good, call, arrive, root } = node(context);
  good('room', 'one', '1000', 'digest');
  arrive('one');
  const { status, stderr } = call('unpack', 'one', '0'.repeat(64));
  assert.equal(status, 1);
  assert.match(stderr, /SHA-256 of what arrived is [0-9a-f]{64}, and should be 0{64}/);
  assert.deepEqual([...readdirSync(join(root, 'releases')), ...readdirSync(join(root, 'incoming'))], []);
});

test('a tarball that holds another release than it is called is refused', (context) => {
  const { good, call, arrive, root } = node(context);
  good('room', 'one', '1000', 'digest');
  const { status, stderr } = call('unpack', 'one', arrive('one', 'other'));
  assert.equal(status, 1);
  assert.match(stderr, /does not say that it is release one/);
  assert.deepEqual(readdirSync(join(root, 'releases')), []);
});

test('the current release is never replaced by other bytes of the same name', (context) => {
  const { good, call, install, state } = node(context);
  install('one');
  good('switch', 'one');
  assert.match(call('unpack', 'one', '0'.repeat(64)).stderr, /give the new one an id of its own/);
  assert.equal(state().current, 'one');
});

test('the release before stays whole when other bytes of its name turn out to be bad', (context) => {
  const { good, call, install, arrive, state, root } = node(context);
  for (const id of ['one', 'two']) {
    install(id);
    good('switch', id);
  }
  assert.equal(call('unpack', 'one', arrive('one', 'other')).status, 1);
  assert.deepEqual([state().current, state().previous], ['two', 'one']);
  assert.ok(existsSync(join(root, 'releases/one/content')));
});

test('a release that does not fit on the disk is refused before it is copied', (context) => {
  const { call } = node(context);
  const { status, stderr } = call('room', 'one', '900000000000000000', 'digest');
  assert.equal(status, 1);
  assert.match(stderr, /no space left: release one needs \d+ MB in .*, and \d+ MB are free/);
});

const mounting =
  (process.getuid?.() !== 0 || spawnSync('unshare', ['--mount', 'true']).status !== 0) &&
  'a small disk needs the right to mount';
test('a disk that fills up while a release is unpacked keeps nothing of it, and what runs stays', {
  skip: mounting,
}, (context) => {
  const { root, good, call, state, arrive, install } = node(context);
  mkdirSync(root);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]);
  try {
    install('one');
    good('switch', 'one');
    good('room', 'two', '1000', 'digest');
    const digest = arrive('two');
    // Somebody else takes what was free when it was looked at.
    const ballast = join(root, 'ballast');
    assert.throws(() => writeFileSync(ballast, Buffer.alloc(2_000_000)), { code: 'ENOSPC' });
    const { status, stderr } = call('unpack', 'two', digest);
    assert.equal(status, 1);
    assert.match(stderr, /^release two could not be unpacked: .*No space left on device$/);
    assert.deepEqual(readdirSync(join(root, 'releases')), ['one']);
    assert.equal(state().current, 'one');
    rmSync(ballast);
    good('unpack', 'two', arrive('two'));
  } finally {
    execFileSync('umount', [root]);
  }
});

test('old releases go; the current one, the one before and one that still runs stay', async (context) => {
  const { good, state, install, root } = node(context);
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) {
    install(id);
    good('switch', id);
    // Folders are told apart by the second in which they came.
    execFileSync('touch', ['-d', `2026-01-01 00:00:0${'abcdef'.indexOf(id)}`, join(root, 'releases', id)]);
  }
  const { spawn } = await import('node:child_process');
  const running = spawn('sh', ['-c', `: ${join(root, 'releases/b')}/ops; read line`], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  context.after(() => running.kill());
  good('back', 'a', 'c');
  assert.equal(good('prune', '2'), 'removed release d');
  assert.deepEqual(
    state()
      .releases.map(({ id }) => id)
      .sort(),
    ['a', 'b', 'c', 'e', 'f'],
  );
});

test('one has the lock; another one is told who, and takes it only from whom it named', (context) => {
  const { good, root } = node(context);
  const lock = (key: string, ...expected: string[]) =>
    JSON.parse(good('lock', key, JSON.stringify({ key, user: 'x' }), ...expected)).lock.key as string;
  assert.equal(lock('key-1'), 'key-1');
  assert.equal(lock('key-2'), 'key-1');
  assert.equal(lock('key-2', 'key-9'), 'key-1', 'somebody else came between');
  good('unlock', 'key-2');
  assert.ok(existsSync(join(root, 'rollout.lock')), 'a lock of others is not given back');
  assert.equal(lock('key-2', 'key-1'), 'key-2');
  good('unlock', 'key-2');
  assert.ok(!existsSync(join(root, 'rollout.lock')));
});

test('a link to a release that is gone counts as none', (context) => {
  const { root, state, call } = node(context);
  mkdirSync(join(root, 'releases'), { recursive: true });
  symlinkSync('releases/gone', join(root, 'current'));
  assert.equal(state().current, '');
  assert.match(call('switch', 'gone').stderr, /release gone is not on this node/);
});
