import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { LOG_PROGRAMS, renderLogs } from '../logs/render.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { freePorts, until } from '../process/trial.ts';

const skip = spawnSync('rsyslogd', ['-v']).error !== undefined && 'rsyslog is not installed here';
const WITHIN_MS = 30_000;

/** A folder with logs, and rsyslog's configuration that sends them to a port. */
function place(t: TestContext, port: number) {
  const dir = mkdtempSync(join(tmpdir(), 'rsyslog-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const logs = join(dir, 'data/pm2/logs');
  mkdirSync(logs, { recursive: true });
  const template = readFileSync(join(PACKAGE_ROOT, 'ops/logs', LOG_PROGRAMS.rsyslog), 'utf8');
  const places = { dataDir: join(dir, 'data'), node: 'node', root: '/r', user: 'u', vm: 'vm-1' };
  const config = join(dir, 'rsyslog.conf');
  const ours = renderLogs('rsyslog', template, { ...places, to: `127.0.0.1:${port}` });
  writeFileSync(config, `global(workDirectory="${dir}")\n${ours}`);
  return { dir, config, log: join(logs, 'balancer.log') };
}

/** Who takes in what rsyslog sends. */
async function receiver(t: TestContext, port: number) {
  let text = '';
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return () => text.split('\n').slice(0, -1);
}

function startRsyslog(t: TestContext, { dir, config }: { dir: string; config: string }) {
  const child = spawn('rsyslogd', ['-n', '-f', config, '-i', join(dir, 'rsyslogd.pid')], { stdio: 'ignore' });
  const gone = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  return child.pid ?? 0;
}

/** How far a process has read a file; undefined while it has not opened it. */
function readSoFar(pid: number, path: string): number | undefined {
  const fds = `/proc/${pid}/fd`;
  for (const fd of readdirSync(fds)) {
    try {
      if (readlinkSync(join(fds, fd)) !== path) continue;
      return Number(/^pos:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1]);
    } catch {
      // It was closed in this moment.
    }
  }
  return undefined;
}

const event = (n: number, fields: object = {}) =>
  `${JSON.stringify({ level: 'info', time: '2026-11-21T17:00:00.000Z', role: 'balancer', pid: 7, n, ...fields })}\n`;
type Line = { vm: string; n?: number; message?: string; level: string; pad?: string };

test('rsyslog understands the configuration word for word', { skip }, (t) => {
  const { config } = place(t, 5514);
  const checked = spawnSync('rsyslogd', ['-N1', '-f', config], { encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stderr);
  assert.doesNotMatch(checked.stderr, /error|warning|not supported|invalid/i);
});

test('every line reaches the other machine as JSON with the name of this one, over a rotation and a receiver that comes late', {
  skip,
  timeout: 90_000,
}, async (t) => {
  const [port = 0] = await freePorts(1);
  const at = place(t, port);
  writeFileSync(at.log, event(0) + event(1));
  const pid = startRsyslog(t, at);
  const wide = 'ä"\\'.repeat(5_000);
  appendFileSync(at.log, `${event(2, { pad: wide })}Error: "x"\tof Node\n`);
  // Nobody listens yet when it begins to read, and so it cannot go on.
  await until(
    () => (readSoFar(pid, at.log) ?? 0) > 0,
    WITHIN_MS,
    () => 'rsyslog does not read the log',
  );
  const lines = await receiver(t, port);
  await until(
    () => lines().length >= 4,
    WITHIN_MS,
    () => `came: ${lines().length}`,
  );
  renameSync(at.log, `${at.log}.1`);
  appendFileSync(`${at.log}.1`, event(3));
  writeFileSync(at.log, event(4) + event(5));
  await until(
    () => lines().length >= 7,
    WITHIN_MS,
    () => `came: ${lines().join('\n').slice(-500)}`,
  );
  const parsed = lines().map((line) => JSON.parse(line) as Line);
  assert.ok(parsed.every(({ vm }) => vm === 'vm-1'));
  assert.deepEqual(
    parsed.flatMap(({ n }) => (n === undefined ? [] : [n])).sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5],
  );
  assert.equal(parsed.find(({ n }) => n === 2)?.pad, wide);
  const text = parsed.find(({ level }) => level === 'text');
  assert.equal(text?.message, 'Error: "x"\tof Node');
});
