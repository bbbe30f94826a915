// Makes a release: the committed tree, compiled, with its production packages and nothing of other platforms, as one
// tarball with its digest. Knows git, npm and the compiler; what belongs into a release is decided in contents.ts.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { isShipped } from './contents.ts';
import { productionLock, productionManifest } from './production.ts';
import {
  megabytes,
  RELEASE_FILE,
  RELEASE_ID_RULE,
  type Release,
  releaseFolderOf,
  releaseIdOf,
  releaseIdSchema,
  UNPACKED_LIMIT_BYTES,
} from './release.ts';
import { digestOf, writeTarball } from './tarball.ts';

const run = promisify(execFile);
/** What an npm that runs this tells its children about itself. */
const OF_OTHER_NPM = /^npm_(package_|lifecycle_|config_local_prefix$)/;
const OUTPUT_BYTES = 16 * 1024 * 1024;

/** Why no release was made, in words for an operator. */
export class PackFault extends Error {
  override readonly name = 'PackFault';
}

/** What is asked of a pack. */
export interface PackOrder {
  /** The checkout. */
  readonly from: string;
  /** Where the tarball goes. */
  readonly out: string;
  /** Its name; undefined takes VERSION-COMMIT. */
  readonly id: string | undefined;
  /** Equal commits packed with equal times are equal to the byte. */
  readonly builtAt: Date;
  readonly say: (sentence: string) => void;
}

/** A release that was made. */
export interface Packed {
  readonly release: Release;
  readonly tarball: string;
  readonly sha256: string;
  readonly unpackedBytes: number;
  readonly tarballBytes: number;
}

/**
 * Packs the last commit of a checkout for this machine's platform.
 * @throws {PackFault} when there is no commit, a step fails, or the release is larger than promised.
 */
export async function packRelease({ from, out, id: givenId, builtAt, say }: PackOrder): Promise<Packed> {
  const { commit, dirty } = await committed(from);
  if (dirty > 0) say(`${dirty} changed files are not committed and so not in the release`);
  await mkdir(out, { recursive: true });
  const staging = await mkdtemp(join(out, '.packing-'));
  const cleanUp = () => rm(staging, { recursive: true, force: true });
  try {
    const tree = join(staging, 'tree');
    await mkdir(tree);
    await step('git', ['archive', '--output', join(staging, 'tree.tar'), commit], from);
    await step('tar', ['--extract', `--file=${join(staging, 'tree.tar')}`, `--directory=${tree}`], staging);
    const { version } = JSON.parse(await readFile(join(tree, 'package.json'), 'utf8')) as { version: string };
    const id = givenId ?? releaseIdOf(version, commit);
    if (!releaseIdSchema.safeParse(id).success)
      throw new PackFault(`--id: found "${id}"; allowed: ${RELEASE_ID_RULE}`);
    say(`release ${id}: compiling …`);
    await compile(from, tree);
    say('installing what runs …');
    await installProduction(tree);
    const platform = `${process.platform}-${process.arch}`;
    const unpackedBytes = await prune(tree, platform);
    const release: Release = {
      id,
      version,
      commit,
      built_at: builtAt.toISOString(),
      node: process.versions.node,
      platform,
    };
    await writeFile(join(tree, RELEASE_FILE), `${JSON.stringify(release, null, 2)}\n`);
    if (unpackedBytes > UNPACKED_LIMIT_BYTES)
      throw new PackFault(
        `the release has ${megabytes(unpackedBytes)} unpacked, and may have ${megabytes(UNPACKED_LIMIT_BYTES)}`,
      );
    const folder = join(staging, releaseFolderOf(id));
    await rename(tree, folder);
    await step(process.execPath, [join(folder, 'ops/toonfleet.mjs'), 'version'], staging);
    say('packing …');
    const tarball = join(out, `${releaseFolderOf(id)}.tar.gz`);
    // A digest of an older tarball of this name must not stand beside the new one, not even for a moment.
    await rm(`${tarball}.sha256`, { force: true });
    await writeTarball(folder, tarball, Math.floor(builtAt.getTime() / 1000));
    const sha256 = await digestOf(tarball);
    await writeFile(`${tarball}.sha256`, `${sha256}  ${releaseFolderOf(id)}.tar.gz\n`);
    return { release, tarball, sha256, unpackedBytes, tarballBytes: (await stat(tarball)).size };
  } finally {
    await cleanUp();
  }
}

/** The last commit, and how many files differ from it. */
async function committed(from: string): Promise<{ commit: string; dirty: number }> {
  try {
    const head = await run('git', ['-C', from, 'rev-parse', '--verify', 'HEAD^{commit}']);
    const changed = await run('git', ['-C', from, 'status', '--porcelain']);
    return { commit: head.stdout.trim(), dirty: changed.stdout.split('\n').filter(Boolean).length };
  } catch (cause) {
    throw new PackFault(
      `${from} is no git checkout with a commit, and a release is made from what is committed`,
      { cause },
    );
  }
}

/** Compiles the tree with the compiler and the types of the checkout. */
async function compile(from: string, tree: string): Promise<void> {
  let compiler: string;
  try {
    const resolve = createRequire(join(from, 'package.json')).resolve;
    compiler = join(dirname(resolve('typescript/package.json')), 'bin/tsc');
  } catch (cause) {
    throw new PackFault(`there is no compiler in ${from}: npm install`, { cause });
  }
  const borrowed = join(tree, 'node_modules');
  await symlink(join(from, 'node_modules'), borrowed);
  await step(process.execPath, [compiler, '-p', join(tree, 'tsconfig.build.json')], tree);
  await rm(borrowed);
  if (!existsSync(join(tree, 'dist/ops/cli.js')))
    throw new PackFault('the compiler wrote no dist/ops/cli.js');
}

/** Installs exactly what the lockfile names, and runs no script of any package. */
async function installProduction(tree: string): Promise<void> {
  const rewrite = async (name: string, change: typeof productionLock) => {
    const path = join(tree, name);
    const content = change(JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>);
    await writeFile(path, `${JSON.stringify(content, null, 2)}\n`);
  };
  await rewrite('package.json', productionManifest);
  await rewrite('package-lock.json', productionLock);
  await step('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], tree);
}

/** Takes away what is not shipped, and folders that became empty; the answer is what is left, in bytes. */
async function prune(tree: string, platform: string): Promise<number> {
  const visit = async (folder: string): Promise<{ bytes: number; empty: boolean }> => {
    let bytes = 0;
    let empty = true;
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        const inside = await visit(path);
        bytes += inside.bytes;
        if (inside.empty) await rm(path, { recursive: true });
        else empty = false;
      } else if (isShipped(relative(tree, path), platform)) {
        if (entry.isFile()) bytes += (await stat(path)).size;
        empty = false;
      } else await rm(path);
    }
    return { bytes, empty };
  };
  return (await visit(tree)).bytes;
}

/** Runs one program to its end; what it complains about becomes the fault. */
async function step(program: string, args: readonly string[], cwd: string): Promise<void> {
  // Run through npm (`npx toonfleet`), that one's project would be taken for the one that is installed.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OF_OTHER_NPM.test(name)));
  try {
    await run(program, [...args], { cwd, maxBuffer: OUTPUT_BYTES, env });
  } catch (cause) {
    const { code, stdout = '', stderr = '' } = cause as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT')
      throw new PackFault(`${program} is needed to make a release, and is not here`, { cause });
    // npm says first what is wrong and then how it is used; a compiler's first fault causes the others.
    const words = `${stdout}\n${stderr}`.trim().split('\n').slice(0, 20).join('\n  ');
    throw new PackFault(`${program} ${args[0]} failed:\n  ${words}`, { cause });
  }
}
