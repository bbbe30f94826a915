import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { RELEASE_FILE, type Release, releaseFolderOf } from './release.ts';
import { digestOf, TarballFault, writeTarball } from './tarball.ts';
import { verifyRelease } from './verify.ts';

const skip = gnuTar() ? false : 'GNU tar is missing';
const EPOCH_S = 1_700_000_000;

function gnuTar(): boolean {
  try {
    return execFileSync('tar', ['--version'], { encoding: 'utf8' }).includes('GNU');
  } catch {
    return false;
  }
}

const RELEASE: Release = {
  id: '1.2.3-test',
  version: '1.2.3',
  commit: 'a'.repeat(40),
  built_at: '2026-01-02T03:04:05.000Z',
  node: '20.20.0',
  platform: 'linux-x64',
};

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'release-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The smallest release; files are written in the given order. */
function tree(at: string, order: 'first' | 'last' = 'first', says: object = RELEASE): string {
  const top = join(at, releaseFolderOf(RELEASE.id));
  const files: [string, string][] = [
    [RELEASE_FILE, JSON.stringify(says)],
    ['package.json', '{}'],
    ['ops/toonfleet.mjs', 'start'],
    ['dist/ops/cli.js', 'cli'],
    ['docs/with blank and ü.md', 'words'],
  ];
  for (const [name, text] of order === 'first' ? files : files.reverse()) {
    mkdirSync(dirname(join(top, name)), { recursive: true });
    writeFileSync(join(top, name), text);
  }
  mkdirSync(join(top, 'node_modules/.bin'), { recursive: true });
  symlinkSync('../pm2/bin/pm2', join(top, 'node_modules/.bin/pm2'));
  return top;
}

async function packed(at: string, says?: object): Promise<string> {
  const tarball = join(at, `${releaseFolderOf(RELEASE.id)}.tar.gz`);
  await writeTarball(tree(at, 'first', says), tarball, EPOCH_S);
  writeFileSync(`${tarball}.sha256`, `${await digestOf(tarball)}  name\n`);
  return tarball;
}

test('the same files give the same bytes, whenever and by whomever they were written', {
  skip,
}, async (t) => {
  const [one, two] = [folder(t), folder(t)];
  const [first, second] = [tree(one), tree(two, 'last')];
  chmodSync(join(second, 'package.json'), 0o600);
  utimesSync(join(second, 'package.json'), 1, 1);
  await writeTarball(first, join(one, 'a.tar.gz'), EPOCH_S);
  await writeTarball(second, join(two, 'b.tar.gz'), EPOCH_S);
  assert.ok(readFileSync(join(one, 'a.tar.gz')).equals(readFileSync(join(two, 'b.tar.gz'))));
  writeFileSync(join(second, 'package.json'), '{ }');
  await writeTarball(second, join(two, 'c.tar.gz'), EPOCH_S);
  assert.notEqual(await digestOf(join(one, 'a.tar.gz')), await digestOf(join(two, 'c.tar.gz')));
});

test('a whole release is found whole, and says which it is', { skip }, async (t) => {
  const verdict = await verifyRelease(await packed(folder(t)));
  assert.deepEqual(verdict.faults, []);
  assert.deepEqual(verdict.release, RELEASE);
  assert.ok(verdict.unpackedBytes > 0);
});

test('a tarball that was cut, or has no digest beside it, is not shipped', { skip }, async (t) => {
  const tarball = await packed(folder(t));
  truncateSync(tarball, 200);
  assert.match((await verifyRelease(tarball)).faults.join(), /its SHA-256 is [0-9a-f]{64}, and .* says/);
  // Cut before its digest was taken: then its inside tells.
  writeFileSync(`${tarball}.sha256`, `${await digestOf(tarball)}  name\n`);
  assert.match((await verifyRelease(tarball)).faults.join(), /is no whole tarball/);
  rmSync(`${tarball}.sha256`);
  assert.match((await verifyRelease(tarball)).faults.join(), /sha256 is missing/);
  rmSync(tarball);
  assert.match((await verifyRelease(tarball)).faults.join(), /ENOENT/);
});

test('a release that calls itself something else is not shipped', { skip }, async (t) => {
  const other = await verifyRelease(await packed(folder(t), { ...RELEASE, id: '9.9.9' }));
  assert.match(other.faults.join(), /says that it is toonfleet-9\.9\.9/);
  const broken = await verifyRelease(await packed(folder(t), { ...RELEASE, commit: 'HEAD' }));
  assert.match(broken.faults.join(), /RELEASE file is broken: commit/);
});

test('a link whose name looks like a link itself hides nowhere', { skip }, async (t) => {
  const at = folder(t);
  // As tar lists it: a -> b -> ../../outside, which could be read as a link to b.
  symlinkSync('../../outside', join(tree(at), 'a -> b'));
  const tarball = join(at, 'x.tar.gz');
  await writeTarball(join(at, releaseFolderOf(RELEASE.id)), tarball, EPOCH_S);
  writeFileSync(`${tarball}.sha256`, `${await digestOf(tarball)}  name\n`);
  assert.match((await verifyRelease(tarball)).faults.join(), /neither a file, a folder nor a link/);
});

test('a tarball that cannot be written leaves nothing behind', { skip }, async (t) => {
  const at = folder(t);
  await assert.rejects(writeTarball(join(at, 'nowhere'), join(at, 'x.tar.gz'), EPOCH_S), TarballFault);
  assert.deepEqual([existsSync(join(at, 'x.tar.gz')), existsSync(join(at, 'x.tar.gz.part'))], [false, false]);
});
