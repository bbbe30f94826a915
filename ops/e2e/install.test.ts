// What `toonfleet systemd install` and a rollout put on a machine, on one whose /etc, /opt, /run, /usr/local/bin and /var/lib are
// a test's own, with a systemctl that only writes down what it is told. systemd itself runs no such machine here.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PACKAGE_ROOT } from '../process/package.ts';
import { findAnsible } from '../rollout/ansible.ts';
import { outOfReach } from '../supervisor/command.ts';
import { toonfleet } from './cluster.ts';

const run = promisify(execFile);
const ROOT = '/opt/toonfleet';
const CLI = `${ROOT}/current/ops/toonfleet.mjs`;
const CONFIG = '/etc/toonfleet/toonfleet.yaml';
const OWN = ['etc', 'opt', 'run', 'usr/local/bin', 'var/lib'];

const canMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0;
const skip = !canMount ? 'mounting needs root' : outOfReachHere();

/** The release is shown to the machine below /opt, but a Node in somebody's home stays there. */
function outOfReachHere(): string | false {
  return outOfReach('nobody', '/etc/..', process.execPath)?.includes('cannot run')
    ? 'no other user may run this Node'
    : false;
}

interface Machine {
  /** Where a path of the machine is outside of it. */
  readonly at: (path: string) => string;
  readonly run: (...words: readonly string[]) => Promise<{ code: number; output: string }>;
  /** What systemctl was told since this was last asked. */
  readonly told: () => string[];
}

async function machine(t: TestContext): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), 'machine-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  // Compiled ahead, as a release is: the service's user could not.
  await toonfleet({ cwd: folder, env: process.env }, 'version');
  chmodSync(folder, 0o755);
  for (const own of OWN) mkdirSync(join(folder, own), { recursive: true });
  execFileSync('cp', ['-a', '/etc/.', join(folder, 'etc')]);
  rmSync(join(folder, 'etc/toonfleet'), { recursive: true, force: true });
  mkdirSync(join(folder, 'run/systemd/system'), { recursive: true });
  mkdirSync(join(folder, 'bin'));
  const log = join(folder, 'systemctl.log');
  writeFileSync(log, '');
  writeFileSync(join(folder, 'bin/systemctl'), `#!/bin/sh\necho "$@" >> '${log}'\n[ "$1" != is-failed ]\n`, {
    mode: 0o755,
  });
  const script = [
    'set -e',
    ...OWN.map((own) => `mount --bind '${folder}/${own}' /${own}`),
    `mkdir -p ${ROOT}/releases/one`,
    `mount --bind '${PACKAGE_ROOT}' ${ROOT}/releases/one`,
    `ln -sfn releases/one ${ROOT}/current`,
    'exec "$@"',
  ].join('\n');
  const env = {
    PATH: `${folder}/bin:/usr/local/bin:${process.env.PATH}`,
    HOME: '/root',
    ANSIBLE_CONFIG: join(PACKAGE_ROOT, 'ops/rollout/ansible/ansible.cfg'),
    LC_ALL: 'C.UTF-8',
  };
  return {
    at: (path) => join(folder, path),
    run: (...words) =>
      run('unshare', ['--mount', 'sh', '-c', script, 'sh', ...words], { cwd: '/', env }).then(
        ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
        (error: { code: number; stdout: string; stderr: string }) => ({
          code: error.code,
          output: error.stdout + error.stderr,
        }),
      ),
    told: () => {
      const lines = readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('is-failed'));
      writeFileSync(log, '');
      return lines;
    },
  };
}

const EMBEDDED = join(PACKAGE_ROOT, 'server/models/embedded');
const UNITS = [
  'toonfleet-backup-verify.service',
  'toonfleet-backup-verify.timer',
  'toonfleet-backup.service',
  'toonfleet-backup.timer',
  'toonfleet-node.service',
];
const TIMERS = 'toonfleet-backup.timer toonfleet-backup-verify.timer';
const own = (name: string) => name.startsWith('toonfleet');
const about = (lines: string[], words: RegExp) => lines.filter((line) => words.test(line));

/** Everything that keeps a node going stands there, and systemd understands it. */
async function assertComplete({ at, run: inside }: Machine): Promise<void> {
  assert.deepEqual(readdirSync(at('etc/systemd/system')).filter(own).sort(), UNITS);
  assert.match(
    readFileSync(at('etc/systemd/journald.conf.d/60-toonfleet.conf'), 'utf8'),
    /^SystemMaxUse=1G$/m,
  );
  const unit = readFileSync(at('etc/systemd/system/toonfleet-node.service'), 'utf8');
  assert.match(unit, new RegExp(`^ExecStart=.* ${CLI} start --role node`, 'm'));
  assert.equal(lstatSync(at('usr/local/bin/toonfleet')).mode & 0o777, 0o755);
  if (!existsSync('/usr/bin/systemd-analyze')) return;
  const files = UNITS.map((name) => `/etc/systemd/system/${name}`);
  const verified = await inside('systemd-analyze', 'verify', '--recursive-errors=no', '--man=no', ...files);
  assert.equal(verified.output, '');
}

test('a fresh machine gets its unit, the timers of its backups, a bound on its journal, and the command', {
  skip,
}, async (t) => {
  const vm = await machine(t);
  const words = ['systemd', 'install', '--role', 'node', '--root', `${ROOT}/current`];
  const { code, output } = await vm.run(process.execPath, CLI, ...words);
  assert.equal(code, 0, output);
  await assertComplete(vm);
  const told = vm.told();
  assert.equal(told[0], 'daemon-reload');
  assert.ok(told.includes('try-restart systemd-journald.service'));
  assert.equal(told.at(-1), `enable --now toonfleet-node.service ${TIMERS}`);
  // Again, as after a setting was changed: the bound that is there stays, and the journal goes on.
  writeFileSync(vm.at('etc/systemd/journald.conf.d/60-toonfleet.conf'), '[Journal]\nSystemMaxUse=5G\n');
  assert.equal((await vm.run(process.execPath, CLI, ...words)).code, 0);
  assert.match(readFileSync(vm.at('etc/systemd/journald.conf.d/60-toonfleet.conf'), 'utf8'), /=5G$/m);
  assert.deepEqual(about(vm.told(), /journald/), []);
});

const ansible = findAnsible(process.env.PATH, [PACKAGE_ROOT]);
test('what a rollout restarts under systemd has the same, and nobody waits for it', {
  skip: skip || (ansible === undefined && 'Ansible is missing (ops/rollout/install-tools.sh)'),
}, async (t) => {
  const vm = await machine(t);
  // As `toonfleet rollout prepare` leaves it.
  mkdirSync(vm.at('etc/toonfleet'));
  writeFileSync(vm.at(CONFIG), 'data_dir: /var/lib/toonfleet\n');
  const plays = vm.at('plays');
  cpSync(join(PACKAGE_ROOT, 'ops/rollout/ansible'), plays, { recursive: true });
  const play = {
    hosts: 'localhost',
    connection: 'local',
    gather_facts: false,
    vars: {
      root: ROOT,
      config: CONFIG,
      supervisor: 'systemd',
      node_program: process.execPath,
      unit: 'toonfleet-node.service',
    },
    tasks: [{ 'ansible.builtin.include_tasks': 'tasks/restart.yml' }],
  };
  writeFileSync(join(plays, 'node.yml'), JSON.stringify([play]));
  const { code, output } = await vm.run(ansible ?? '', '--inventory', 'localhost,', join(plays, 'node.yml'));
  assert.equal(code, 0, output);
  await assertComplete(vm);
  assert.deepEqual(about(vm.told(), /toonfleet|reload/), [
    'daemon-reload',
    'enable toonfleet-node.service',
    `enable --now ${TIMERS}`,
    'restart --no-block toonfleet-node.service',
  ]);
});

test('where systemd does not run, a rollout is told so and nothing is installed', { skip }, async (t) => {
  const vm = await machine(t);
  rmSync(vm.at('run/systemd'), { recursive: true });
  const words = ['systemd', 'install', '--role', 'node', '--root', `${ROOT}/current`, '--restart'];
  const { code, output } = await vm.run(process.execPath, CLI, ...words);
  assert.equal(code, 1);
  assert.match(output, /systemd does not run this machine.*rollout\.supervisor is pm2/);
  assert.deepEqual(readdirSync(vm.at('etc/systemd/system')).filter(own), []);
});

/** Every file below a folder, with whose it is. */
const owners = (folder: string) =>
  [
    folder,
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  ].map((path) => ({ path: path.slice(folder.length), uid: lstatSync(path).uid }));

test('`toonfleet` is there in every shell, knows the service, and what root adds with it belongs to the service', {
  skip,
}, async (t) => {
  const vm = await machine(t);
  const words = ['systemd', 'install', '--role', 'all', '--root', `${ROOT}/current`];
  assert.equal((await vm.run(process.execPath, CLI, ...words)).code, 0);
  const shown = await vm.run('toonfleet', 'config', 'show');
  assert.match(shown.output, /^# from \/etc\/toonfleet\/toonfleet\.yaml$/m);
  assert.match(shown.output, /^data_dir: \/var\/lib\/toonfleet$/m);

  // What only root may read: a secret that the settings name, and the model itself.
  const secrets = vm.at('etc/toonfleet');
  writeFileSync(join(secrets, 'node.key'), 'a key of a test fleet', { mode: 0o600 });
  writeFileSync(vm.at(CONFIG), 'data_dir: /var/lib/toonfleet\nnode: { key_file: /etc/toonfleet/node.key }\n');
  mkdirSync(vm.at('opt/closed'), { mode: 0o700 });
  const [embedded = ''] = readdirSync(EMBEDDED).filter((name) => name.endsWith('.onnx'));
  cpSync(join(EMBEDDED, embedded), vm.at('opt/closed/mine.onnx'));
  chmodSync(vm.at('opt/closed/mine.onnx'), 0o600);
  const model = ['--name', 'mine', '--style', 'mine', '--licence', 'ours', '--accept-licence'];
  const added = await vm.run(
    ...['sh', '-c', 'cd /opt/closed && exec "$@"', 'sh'],
    ...['toonfleet', 'models', 'add', 'mine.onnx', ...model],
  );
  assert.equal(added.code, 0, added.output);
  const data = vm.at('var/lib/toonfleet');
  const files = owners(data);
  assert.ok(
    files.some(({ path }) => path.endsWith('.onnx')),
    JSON.stringify(files),
  );
  const [service] = files;
  assert.notEqual(service?.uid, 0);
  assert.deepEqual(
    files.filter(({ uid }) => uid !== service?.uid),
    [],
  );

  // Another settings file is another installation: nothing of the service is put beside it.
  writeFileSync(vm.at('opt/other.yaml'), 'data_dir: /opt/other\n');
  for (const said of [['--config', '/opt/other.yaml'], ['--config=/opt/other.yaml']]) {
    const other = await vm.run('toonfleet', ...said, 'config', 'show');
    assert.match(other.output, /^data_dir: \/opt\/other$/m);
  }
});

test('a program of that name which is not ours stays', { skip }, async (t) => {
  const vm = await machine(t);
  writeFileSync(vm.at('usr/local/bin/toonfleet'), '#!/bin/sh\necho mine\n', { mode: 0o755 });
  const words = ['systemd', 'install', '--role', 'node', '--root', `${ROOT}/current`];
  const { code, output } = await vm.run(process.execPath, CLI, ...words);
  assert.equal(code, 0, output);
  assert.match(output, /\/usr\/local\/bin\/toonfleet is somebody else's and stays as it is/);
  assert.equal((await vm.run('toonfleet')).output, 'mine\n');
});
