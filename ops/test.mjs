// Runs tests: finds the files and hands them to Node's own runner, whose summary is the last thing that is printed.
//   node ops/test.mjs          all but the end-to-end tests
//   node ops/test.mjs --fast   those that take moments: without *.slow.test.ts
//   node ops/test.mjs --e2e    the end-to-end tests, one file at a time
//   node ops/test.mjs --drill  the long forms of what they show, *.drill.ts beside them
// Words behind the flags pick files by a part of their path. Node 20 knows no globs, and a checkout may have no git.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const ROOMS = ['config', 'server', 'balancer', 'ops', 'loadtest', 'docs'];
const E2E = join('ops', 'e2e');

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('--'));
const words = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const FLAGS = ['--fast', '--e2e', '--drill'];
const unknown = flags.filter((flag) => !FLAGS.includes(flag));
if (unknown.length > 0) {
  process.stderr.write(`unknown: ${unknown.join(' ')}; allowed: ${FLAGS.join(', ')}\n`);
  process.exit(2);
}
const drill = flags.includes('--drill');
const e2e = drill || flags.includes('--e2e');
const fast = flags.includes('--fast');

const files = ROOMS.flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true }).map((name) => join(room, name)),
)
  .filter((path) => path.endsWith(drill ? '.drill.ts' : '.test.ts'))
  .filter((path) => path.startsWith(E2E) === e2e)
  .filter((path) => !fast || !path.endsWith('.slow.test.ts'))
  .filter((path) => words.every((word) => path.includes(word)))
  .sort();
if (files.length === 0) {
  process.stderr.write('no test file fits\n');
  process.exit(1);
}

// End-to-end tests start whole clusters that want the machine for themselves.
const concurrency = e2e ? 1 : Math.max(2, availableParallelism());
// A whole file, too: three VMs that change their releases by ssh take eight minutes on two quiet cores.
const timeoutMs = drill ? 3_600_000 : e2e ? 1_500_000 : 180_000;
const runner = spawn(
  process.execPath,
  [
    '--import',
    'tsx',
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${timeoutMs}`,
    ...files.map((path) => relative(ROOT, join(ROOT, path))),
  ],
  { cwd: ROOT, stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => runner.kill(signal));
runner.once('close', (code) => {
  process.exitCode = code ?? 1;
});
