#!/usr/bin/env node
// The first step of every `toonfleet` command: checks Node, compiles what changed when the sources and a compiler are
// here, and hands over to dist/ops/cli.js. Plain JavaScript, so that it runs before anything is built.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const CLI = join(ROOT, 'dist/ops/cli.js');
const STAMP = join(ROOT, 'dist/.tsbuildinfo');
const ROOMS = ['config', 'server', 'balancer', 'ops', 'loadtest', 'docs'];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(
    `toonfleet needs Node 20.19 or newer, and this is ${process.versions.node}. Node 24 LTS is a good choice.`,
  );
}

const compiler = findCompiler();
if (compiler && isStale()) {
  const faults = build(compiler);
  // `npm install` compiles ahead, so that the first start need not; what stands in its way is for the first command
  // to say, not a reason to install nothing.
  if (faults !== '' && process.argv[2] !== 'prepare') fail(`It does not compile:\n${faults}`);
}
if (process.argv[2] === 'prepare') process.exit(0);
if (!existsSync(CLI)) {
  fail(
    'toonfleet is not built and there is no compiler here. Run "npm install" with its development dependencies, or take a release.',
  );
}
const { main } = await import(pathToFileURL(CLI).href);
process.exitCode = await main(process.argv.slice(2));

/** TypeScript's program, when it is installed and there is something to compile. */
function findCompiler() {
  if (!existsSync(join(ROOT, 'tsconfig.build.json')) || !existsSync(join(ROOT, 'ops/cli.ts')))
    return undefined;
  try {
    const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
    return join(dirname(manifest), 'bin/tsc');
  } catch {
    return undefined;
  }
}

function isStale() {
  if (!existsSync(STAMP) || !existsSync(CLI)) return true;
  const built = statSync(STAMP).mtimeMs;
  const inputs = ['package.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(ROOT, name));
  return [...inputs, ...ROOMS.flatMap((room) => sources(join(ROOT, room)))].some(
    (path) => existsSync(path) && statSync(path).mtimeMs > built,
  );
}

function sources(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => join(folder, name));
}

/** Compiles; the answer is what the compiler has against it. */
function build(tsc) {
  process.stderr.write('compiling …\n');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [tsc, '-p', join(ROOT, 'tsconfig.build.json')],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  );
  if (status !== 0) return `${stdout}${stderr}`;
  // An incremental build that found nothing to write leaves the stamp as old as it was.
  const now = new Date();
  utimesSync(STAMP, now, now);
  return '';
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
