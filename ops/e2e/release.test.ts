// What a rollout ships: packed from what is committed, unpacked somewhere else, started with nothing but Node on a machine
// that has no network at all.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { PACKAGE_ROOT } from '../process/package.ts';
import { releaseSchema } from '../release/release.ts';
import { site, startCluster, toonfleet } from './cluster.ts';
import { decode, distance, photo } from './pictures.ts';

const run = promisify(execFile);

/** Where a command finds no network but a loopback of its own. */
const OFFLINE = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'] as const;

function missing(): string | false {
  for (const [program, ...args] of [
    ['git', '--version'],
    ['npm', '--version'],
    ['tar', '--version'],
    ['nsenter', '--version'],
    [...OFFLINE, 'true'],
  ] as const)
    try {
      execFileSync(program, args, { stdio: 'ignore' });
    } catch {
      return `${program} is missing, or may not do its work here`;
    }
  return false;
}

/** This very tree as a checkout with one commit, whatever it is in itself. */
async function committed(folder: string): Promise<string> {
  const left = new Set(['.git', 'node_modules', 'dist', 'out', '.toonfleet', '.tools']);
  cpSync(PACKAGE_ROOT, folder, {
    recursive: true,
    filter: (path) => !left.has(path.slice(PACKAGE_ROOT.length + 1)),
  });
  const git = (...args: string[]) =>
    run('git', ['-C', folder, '-c', 'user.name=test', '-c', 'user.email=test@localhost', ...args]);
  await git('init', '--quiet');
  await git('add', '--all');
  await git('commit', '--quiet', '--no-verify', '--message=a release');
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(folder, 'node_modules'));
  return (await git('rev-parse', 'HEAD')).stdout.trim();
}

test('a release starts with nothing but Node and draws without a network', { skip: missing() }, async (t) => {
  const at = await site(t);
  const checkout = join(at.cwd, 'checkout');
  const commit = await committed(checkout);
  const out = join(at.cwd, 'out');
  let tarball = '';

  await t.test('it is packed from what is committed, with its digest beside it', async () => {
    writeFileSync(join(checkout, 'not-committed.txt'), 'x');
    const began = performance.now();
    const { code, output } = await toonfleet(at, 'release', 'pack', '--from', checkout, '--out', out);
    assert.equal(code, 0, output);
    assert.match(output, /1 changed files are not committed|2 changed files are not committed/);
    const names = readdirSync(out).sort();
    assert.equal(names.length, 2, `nothing of the work is left: ${names}`);
    tarball = join(out, names[0] ?? '');
    assert.match(output, /unpacked \d+ MB/);
    t.diagnostic(`${output.trim().split('\n').at(-1)}, in ${Math.round(performance.now() - began)} ms`);
  });

  await t.test('it is found whole, and not when one byte is another', async () => {
    const whole = await toonfleet(at, 'release', 'verify', tarball);
    assert.equal(whole.code, 0, whole.output);
    assert.match(whole.output, new RegExp(`is whole: ${process.platform}-${process.arch}, commit ${commit}`));
    const bytes = readFileSync(tarball);
    const other = join(at.cwd, 'other.tar.gz');
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(other, bytes);
    cpSync(`${tarball}.sha256`, `${other}.sha256`);
    const broken = await toonfleet(at, 'release', 'verify', other);
    assert.equal(broken.code, 1);
    assert.match(broken.output, /its SHA-256 is/);
  });

  const folder = join(at.cwd, 'opt');
  await t.test(
    'it unpacks into one folder that says what it is, and has nothing for other machines',
    async () => {
      await run('mkdir', [folder]);
      await run('tar', ['--extract', '--gzip', `--file=${tarball}`, `--directory=${folder}`]);
      const [top = '', ...more] = readdirSync(folder);
      assert.deepEqual(more, []);
      const release = releaseSchema.parse(JSON.parse(readFileSync(join(folder, top, 'RELEASE'), 'utf8')));
      assert.equal(release.commit, commit);
      assert.equal(top, `toonfleet-${release.id}`);
      for (const name of [
        'not-committed.txt',
        'ops/cli.ts',
        'tsconfig.build.json',
        'node_modules/typescript',
        'dist/ops/e2e',
      ])
        assert.ok(!existsSync(join(folder, top, name)), name);
      const natives = readdirSync(join(folder, top, 'node_modules/onnxruntime-node/bin'), { recursive: true })
        .map(String)
        .filter((name) => name.endsWith('.node'));
      assert.equal(natives.length, 1, `${natives}`);
    },
  );

  await t.test('it starts and draws in a namespace that has no way out', async () => {
    const [top = ''] = readdirSync(folder);
    const cluster = await startCluster(at, {
      command: [process.execPath, join(folder, top, 'ops/toonfleet.mjs'), 'start'],
      through: OFFLINE,
    });
    const picture = join(at.cwd, 'photo.jpg');
    const drawn = join(at.cwd, 'anime.png');
    writeFileSync(picture, await photo(1, 320, 240));
    const inside = (...words: string[]) => run('nsenter', [`--net=/proc/${cluster.pid}/ns/net`, ...words]);
    await assert.rejects(inside('curl', '--max-time', '2', '--silent', 'http://192.0.2.1/'), 'no way out');
    await inside('curl', '--fail', '--silent', '-F', `file=@${picture}`, `${at.url}/transform`, '-o', drawn);
    const [before, after] = [await decode(readFileSync(picture)), await decode(readFileSync(drawn))];
    assert.deepEqual([after.width, after.height], [320, 240]);
    assert.ok(distance(after, before) > 3, 'it is not the photo');
    t.diagnostic(`ready after ${Math.round(cluster.readyMs)} ms`);
    await cluster.stop();
  });
});

test('a folder without commits makes no release, and says so', { skip: missing() }, async (t) => {
  const at = await site(t);
  const { code, output } = await toonfleet(
    at,
    'release',
    'pack',
    '--from',
    at.cwd,
    '--out',
    join(at.cwd, 'out'),
  );
  assert.equal(code, 1);
  assert.match(output, /is no git checkout with a commit/);
  assert.ok(!existsSync(join(at.cwd, 'out')));
});
