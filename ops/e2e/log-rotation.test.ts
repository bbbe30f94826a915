import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { loadSettings } from '../../config/load.ts';
import { type App, appsOf } from '../apps.ts';
import { LOG_PROGRAMS, renderLogs } from '../logs/render.ts';
import { familyEnds, prepareHome, spawnRuntime } from '../pm2.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { toonfleet, until } from './cluster.ts';

const run = promisify(execFile);
const skip = spawnSync('logrotate', ['--version']).error !== undefined && 'logrotate is not installed here';

/** Writes numbered lines, as our processes write theirs, until it finds a file; then it says how many it has written. */
const WRITER = (log: string) => `
import { existsSync } from 'node:fs';
import { createLog } from '${log}';
const log = createLog('writer', 'info');
let n = 0;
process.send?.('ready');
const timer = setInterval(() => {
  // Warnings are written at once: a moment without a file would cost some of them.
  for (let i = 0; i < 2; i++) log.warn({ n: n++ }, 'line');
  if (existsSync(process.env.ENOUGH)) { clearInterval(timer); log.warn({ total: n }, 'done'); }
}, 2);
process.on('SIGINT', () => process.exit(0));
setInterval(() => {}, 1000);
`;
const TURNS = 4;
const WRITERS = 2;

test('logrotate turns the logs again and again while they are written, and no line of the balancer and the workers is lost', {
  skip,
  timeout: 180_000,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'rotate-'));
  const data = join(folder, 'data');
  const home = join(data, 'pm2');
  const logs = join(home, 'logs');
  // Compiles what is new; the writers run what is compiled.
  await toonfleet({ cwd: folder, env: process.env }, 'version');
  const env = { ...process.env, TOONFLEET_DATA_DIR: data };
  const settings = loadSettings({ env: { TOONFLEET_DATA_DIR: data }, cwd: folder });
  const [worker] = appsOf(settings, 'node', { root: PACKAGE_ROOT, cwd: folder, cores: WRITERS });
  assert.ok(worker);
  const script = join(folder, 'writer.mjs');
  writeFileSync(script, WRITER(pathToFileURL(join(PACKAGE_ROOT, 'dist/ops/process/log.js')).href));
  const enough = join(folder, 'enough');
  const app: App = {
    ...worker,
    script,
    cwd: folder,
    instances: WRITERS,
    env: { ...worker.env, ENOUGH: enough },
  };
  prepareHome(home);
  const runtime = spawnRuntime(home, [app], env);
  const family = { home, group: runtime.pid ?? 0 };
  t.after(async () => {
    if (runtime.exitCode === null) runtime.kill('SIGTERM');
    await familyEnds(family, 10_000);
    rmSync(folder, { recursive: true, force: true });
  });
  runtime.stdout?.resume();
  runtime.stderr?.resume();

  const config = join(folder, 'logrotate.conf');
  const template = readFileSync(join(PACKAGE_ROOT, 'ops/logs', LOG_PROGRAMS.logrotate), 'utf8');
  const places = { dataDir: data, node: process.execPath, root: PACKAGE_ROOT, user: userInfo().username };
  writeFileSync(config, renderLogs('logrotate', template, { ...places, vm: 'vm-1', to: undefined }), {
    mode: 0o644,
  });
  const written = () => (existsSync(logs) ? linesIn(logs) : []);
  await until(
    () => written().length > 500,
    30_000,
    () => 'nothing is written',
  );
  // logrotate wants a folder that nobody else may write to.
  mkdirSync(join(folder, 'state'));
  for (let turn = 0; turn < TURNS; turn++) {
    const before = written().length;
    await run('logrotate', ['--force', '--state', join(folder, 'state/status'), config]);
    await until(
      () => written().length > before + 100,
      30_000,
      () => `nothing is written after rotation ${turn}`,
    );
  }
  writeFileSync(enough, '');
  const done = () => written().filter((line) => line.includes('"total":'));
  await until(
    () => done().length === WRITERS,
    30_000,
    () => 'the writers never came to their end',
  );
  assert.equal(runtime.exitCode, null, 'PM2 goes on');
  const seen = new Map<number, number[]>();
  for (const line of written()) {
    if (!line.startsWith('{')) continue;
    const { pid, n } = JSON.parse(line) as { pid: number; n?: number };
    if (n !== undefined) seen.set(pid, [...(seen.get(pid) ?? []), n]);
  }
  assert.equal(seen.size, WRITERS);
  const totals = done().map((line) => JSON.parse(line) as { pid: number; total: number });
  for (const { pid, total } of totals)
    assert.deepEqual(
      seen.get(pid)?.sort((a, b) => a - b),
      Array.from({ length: total }, (_, n) => n),
    );
  t.diagnostic(`${totals.map(({ total }) => total).join(' + ')} lines over ${TURNS} rotations`);
  assert.ok(readdirSync(logs).includes('worker.log'), 'what comes next stands in a new file');
  assert.ok(
    readdirSync(logs).some((name) => name.endsWith('.gz')),
    'older ones are compressed',
  );
});

/** All lines of the worker's logs, whatever rotation has made of their files. */
function linesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith('worker.log'))
    .flatMap((name) => {
      const bytes = readFileSync(join(folder, name));
      return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').split('\n');
    });
}
