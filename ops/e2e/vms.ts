// Small machines with a real sshd, for tests of what reaches a VM only by ssh: each has a network, a process table and a
// disk of its own, and shares this machine's programs. Needs root, iproute2 and OpenSSH's server.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeLan } from '../process/namespaces.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { type Ended, until } from './cluster.ts';

export const SSHD = '/usr/sbin/sshd';

/** Where a VM keeps its releases and its settings, as it sees them itself. */
export const VM_ROOT = '/mnt/toonfleet';
export const VM_CONFIG = '/mnt/toonfleet.yaml';
const VM_DATA = '/mnt/data';
export const NODE_KEY = 'a node key of a test fleet';

/** One small machine. */
export interface Vm {
  readonly name: string;
  readonly address: string;
  readonly agentUrl: string;
}

export interface Vms {
  readonly all: readonly Vm[];
  /** The private key that every VM knows. */
  readonly key: string;
  readonly knownHosts: string;
  /** Runs a command on one of them by ssh. */
  run(name: string, words: readonly string[]): Promise<Ended>;
  /** Ends every process in them, and takes them away. */
  remove(): Promise<void>;
}

/** Why there can be no such machines here, or false. */
export function noVms(): string | false {
  if (process.getuid?.() !== 0) return 'VMs of namespaces need root';
  if (!existsSync(SSHD)) return 'sshd is missing (package openssh-server)';
  return false;
}

/** VMs of one test, and a folder for what it ships to them; both are gone after it. */
export interface Fleet {
  readonly vms: Vms;
  readonly folder: string;
  /** What a `toonfleet` needs to roll releases out to them. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Makes the VMs of a test, one in each of the zones.
 * @returns Undefined where this machine lets none be made; the test is skipped then, and says why.
 */
export async function vmsOf(context: TestContext, zones: readonly string[]): Promise<Fleet | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'vms-'));
  let vms: Vms;
  try {
    vms = await makeVms(folder, zones, { diskMb: 40, nodeKey: NODE_KEY });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    // Nothing stands in for them: containers, say, may not make network namespaces.
    context.skip(`no VM can be made here: ${(error as Error).message}`);
    return undefined;
  }
  context.after(async () => {
    await vms.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  const env = {
    TOONFLEET_NODE__KEY: NODE_KEY,
    TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test',
    TOONFLEET_NODES: JSON.stringify(vms.all.map(({ agentUrl }) => ({ agent: agentUrl }))),
    TOONFLEET_ROLLOUT__USER: 'root',
    TOONFLEET_ROLLOUT__KEY: vms.key,
    TOONFLEET_ROLLOUT__KNOWN_HOSTS: vms.knownHosts,
    TOONFLEET_ROLLOUT__ROOT: VM_ROOT,
    TOONFLEET_ROLLOUT__CONFIG: VM_CONFIG,
    TOONFLEET_ROLLOUT__NODE_PROGRAM: process.execPath,
    TOONFLEET_ROLLOUT__SUPERVISOR: 'pm2',
    // The VMs, their clients and Ansible share two cores here: times say nothing.
    TOONFLEET_ROLLOUT__BAKE_SLOWER: '10000',
  };
  return { vms, folder, env };
}

/**
 * Makes VMs that run nothing but sshd yet.
 * @param diskMb What fits into {@link VM_ROOT}.
 * @throws {Error} that says why this machine lets none be made.
 */
async function makeVms(
  folder: string,
  zones: readonly string[],
  { diskMb, nodeKey }: { diskMb: number; nodeKey: string },
): Promise<Vms> {
  const lan = makeLan(zones.length, 100 + (process.pid % 100));
  const key = join(folder, 'id');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'host')]);
  const running: ChildProcess[] = [];
  const remove = async () => {
    for (const child of running) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'close');
      // The first process of a process table takes all others with it.
      child.kill('SIGKILL');
      await gone;
    }
    lan.remove();
  };
  try {
    const all: Vm[] = [];
    for (const [index, { address, enter }] of lan.nodes.entries()) {
      const vm = { name: `vm-${index + 1}`, address, agentUrl: `http://${address}:8001` };
      running.push(boot(folder, vm, zones[index] ?? 'default', enter, { diskMb, nodeKey }));
      all.push(vm);
    }
    for (const { address, name } of all)
      await until(
        () => answers(address, 22),
        15_000,
        () => `${name}: sshd does not listen:\n${readFileSync(join(folder, `${name}.log`), 'utf8')}`,
      );
    const knownHosts = join(folder, 'known_hosts');
    const run = (name: string, words: readonly string[]): Promise<Ended> => {
      const address = all.find((vm) => vm.name === name)?.address ?? '';
      const options = [
        'StrictHostKeyChecking=accept-new',
        `UserKnownHostsFile=${knownHosts}`,
        'BatchMode=yes',
      ];
      const child = spawn(
        'ssh',
        ['-i', key, ...options.flatMap((option) => ['-o', option]), `root@${address}`, ...words],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
      return new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code) => resolve({ code, output }));
      });
    };
    return { all, key, knownHosts, run, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

function boot(
  folder: string,
  { name, address }: Vm,
  zone: string,
  enter: readonly string[],
  { diskMb, nodeKey }: { diskMb: number; nodeKey: string },
): ChildProcess {
  const disk = join(folder, name);
  mkdirSync(disk);
  const settings = {
    data_dir: VM_DATA,
    node: { name, zone, key_file: '/mnt/node.key' },
    agent: { host: address },
    worker: { host: address, count: 1, drain_grace: '500ms' },
  };
  writeFileSync(join(disk, 'toonfleet.yaml'), JSON.stringify(settings));
  writeFileSync(join(disk, 'node.key'), nodeKey, { mode: 0o600 });
  const sshd = [
    `ListenAddress ${address}`,
    `HostKey ${join(folder, 'host')}`,
    `AuthorizedKeysFile ${join(folder, 'id.pub')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PidFile none',
    'Subsystem sftp internal-sftp',
  ];
  writeFileSync(join(disk, 'sshd_config'), `${sshd.join('\n')}\n`);
  const packages = realpathSync(join(PACKAGE_ROOT, 'node_modules'));
  const script = [
    'set -e',
    // What runs here is nobody else's business, and sshd wants a folder there.
    'mount -t tmpfs tmpfs /run && mkdir -p /run/sshd',
    `mount --bind ${disk} /mnt`,
    'mkdir -p /mnt/toonfleet /mnt/data',
    `mount -t tmpfs -o size=${diskMb}m tmpfs ${VM_ROOT}`,
    // A release of a test has no packages of its own; Node looks for them in the folders above it.
    `mkdir ${VM_ROOT}/node_modules && mount --bind ${packages} ${VM_ROOT}/node_modules`,
    `ln -s ${join(PACKAGE_ROOT, '.tools')} ${VM_ROOT}/.tools`,
    `exec ${SSHD} -D -e -f /mnt/sshd_config`,
  ].join('\n');
  const [program = '', ...words] = [
    // However this process ends, nothing of them stays.
    ...['setpriv', '--pdeathsig', 'KILL'],
    ...enter,
    'unshare',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    'sh',
    '-c',
    script,
  ];
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } });
  const log = join(folder, `${name}.log`);
  writeFileSync(log, '');
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => writeFileSync(log, chunk, { flag: 'a' }));
  return child;
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
