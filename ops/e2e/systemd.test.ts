import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { roles } from '../apps.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { timedRoles, timerNameOf, unitNameOf, unitRoles } from '../supervisor/unit.ts';
import { site, startCluster } from './cluster.ts';

const run = promisify(execFile);
const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');
const skip = !existsSync('/usr/bin/systemd-analyze') && 'systemd-analyze is missing (package systemd)';
/** systemd's own scale times ten: below 2.5 is "OK", what a service without any of this has is 9.2. */
const WORST_EXPOSURE = 25;

for (const role of unitRoles) {
  test(`the unit of role ${role} is understood by systemd, word for word, and exposes little`, {
    skip,
  }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'toonfleet-units-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, `toonfleet-${role}.service`);
    const { stdout } = await run(process.execPath, [CLI, 'systemd', 'render', '--role', role]);
    await writeFile(file, stdout);
    // Every complaint counts: an unknown key is only warned of.
    const verified = await run('systemd-analyze', ['verify', '--recursive-errors=no', '--man=no', file]);
    assert.equal(verified.stderr, '');
    const judged = ['security', '--offline=true', `--threshold=${WORST_EXPOSURE}`, file];
    const { stdout: report } = await run('systemd-analyze', judged);
    t.diagnostic(report.trim().split('\n').at(-1) ?? '');
  });
}

for (const role of timedRoles) {
  test(`the timer of ${role} is understood by systemd, and its moment comes`, { skip }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'toonfleet-units-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const timer = join(folder, timerNameOf(role));
    const render = (...words: string[]) =>
      run(process.execPath, [CLI, 'systemd', 'render', '--role', role, ...words]);
    // A timer is judged beside what it starts.
    await writeFile(join(folder, unitNameOf(role)), (await render()).stdout);
    const { stdout } = await render('--timer');
    await writeFile(timer, stdout);
    const verified = await run('systemd-analyze', ['verify', '--recursive-errors=no', '--man=no', timer]);
    assert.equal(verified.stderr, '');
    const moment = /^OnCalendar=(.+)$/m.exec(stdout)?.[1] ?? '';
    const calendar = await run('systemd-analyze', ['calendar', moment]);
    assert.match(calendar.stdout, /Next elapse: \w{3} \d{4}-/);
  });
}

test('the units that follow a Git repository are understood by systemd, and their moment comes', {
  skip,
}, async () => {
  const timer = join(PACKAGE_ROOT, 'systemd/toonfleet-pull.timer');
  const verified = await run('systemd-analyze', ['verify', '--recursive-errors=no', '--man=no', timer]);
  assert.equal(verified.stderr, '');
  const moment = /^OnCalendar=(.+)$/m.exec(await readFile(timer, 'utf8'))?.[1] ?? '';
  const { stdout } = await run('systemd-analyze', ['calendar', moment]);
  assert.match(stdout, /Next elapse: \w{3} \d{4}-/);
});

/** What a supervisor hears; Python has the sockets that Node lacks. */
const LISTENER = `
import os, socket, sys
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.bind(sys.argv[1])
print('listening', flush=True)
while True:
    for word in ear.recv(4096).decode().split('\\n'):
        print(word, flush=True)
`;

async function startSupervisor(
  t: TestContext,
): Promise<{ socket: string; next: (word: string) => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-notify-'));
  const socket = join(folder, 'notify');
  const child = spawn('python3', ['-c', LISTENER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  t.after(async () => {
    const gone = once(child, 'exit');
    child.kill();
    await gone;
    await rm(folder, { recursive: true, force: true });
  });
  const next = async (word: string) => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `the supervisor ended before it heard ${word}`);
      if (value === word) return;
    }
  };
  await next('listening');
  return { socket, next };
}

const noEar =
  !(existsSync('/usr/bin/systemd-notify') && existsSync('/usr/bin/python3')) &&
  !process.env.PATH?.split(':').some((folder) => existsSync(join(folder, 'python3'))) &&
  'systemd-notify or python3 is missing';

for (const role of roles) {
  test(`what the unit of role ${role} starts tells its supervisor that it is ready, that it is well, and that it stops`, {
    skip: noEar,
  }, async (t) => {
    const { stdout: unit } = await run(process.execPath, [CLI, 'systemd', 'render', '--role', role]);
    const command = /^ExecStart=(.+)$/m.exec(unit)?.[1]?.split(' ') ?? assert.fail('it starts nothing');
    assert.match(unit, /^Type=notify$/m);
    const { socket, next } = await startSupervisor(t);
    // Where it listens and keeps its data are this test's; the command is the unit's, word for word.
    const at = await site(t, { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' });
    const cluster = await startCluster(at, { command });
    await next('READY=1');
    await next('WATCHDOG=1');
    await next('WATCHDOG=1');
    const ended = cluster.stop();
    await next('STOPPING=1');
    await ended;
  });
}
