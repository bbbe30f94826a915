// Runs PM2 as the separate program that it is (AGPL-3.0; nothing of ours imports it), with a home of our own.
// The only file that knows where PM2 lies, how it is called and what it leaves in its home.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type App, pm2Environment } from './apps.ts';

/** The folder of PM2's programs, wherever the package manager has put it. */
const PM2_BIN = join(dirname(createRequire(import.meta.url).resolve('pm2/package.json')), 'bin');

/** sockaddr_un holds 108 bytes on Linux and 104 on macOS, one of them the closing zero. */
const SOCKET_PATH_BYTES = 103;

/** What is wrong with a home, or undefined. */
export function homeFault(home: string): string | undefined {
  const socket = join(home, 'rpc.sock');
  const bytes = Buffer.byteLength(socket);
  if (bytes <= SOCKET_PATH_BYTES) return undefined;
  return `data_dir: ${socket} is ${bytes} bytes long, and a socket's path may have ${SOCKET_PATH_BYTES}; set a shorter data_dir, such as TOONFLEET_DATA_DIR=/var/lib/toonfleet`;
}

/** Makes the home, and switches off PM2's watch over the whole machine, which nobody here reads. */
export function prepareHome(home: string): void {
  mkdirSync(join(home, 'logs'), { recursive: true });
  writeFileSync(join(home, 'module_conf.json'), JSON.stringify({ pm2: { sysmonit: 'false' } }));
}

/**
 * Starts pm2-runtime with these apps, in a process group of its own: a Ctrl-C in the terminal reaches the command that
 * started it, and nobody else.
 */
export function spawnRuntime(home: string, apps: readonly App[], env: NodeJS.ProcessEnv): ChildProcess {
  const file = join(home, 'apps.json');
  writeFileSync(file, JSON.stringify({ apps }, null, 2));
  return spawn(process.execPath, [join(PM2_BIN, 'pm2-runtime'), 'start', file, '--raw'], {
    env: pm2Environment(env, home),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A PM2 command as a person would type it. */
export function pm2CommandLine(home: string, args: readonly string[]): string {
  return `PM2_HOME=${home} ${join(PM2_BIN, 'pm2')} ${args.join(' ')}`;
}

/** Runs a PM2 command against a running PM2; `onOutput` gets what it prints. */
export async function runPm2(
  home: string,
  args: readonly string[],
  onOutput: (text: string) => void = () => {},
): Promise<number> {
  const child = spawn(process.execPath, [join(PM2_BIN, 'pm2'), ...args], {
    env: pm2Environment(process.env, home),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', onOutput);
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/** Whether a PM2 answers in this home. A command to one that does not would start a new one, so ask first. */
export function pm2Answers(home: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(home, 'rpc.sock'));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Takes away what a PM2 that is gone has left in its home; logs stay. */
export function sweepHome(home: string): void {
  for (const name of [
    'rpc.sock',
    'pub.sock',
    'pm2.pid',
    'pids',
    'apps.json',
    'dump.pm2',
    'dump.pm2.bak',
    'reload.lock',
    'touch',
    'modules',
  ])
    rmSync(join(home, name), { recursive: true, force: true });
}

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, in ticks since boot; undefined where the system does not tell. */
  readonly since: string | undefined;
}

/** The identity of a running process. */
export function identify(pid: number): ProcessIdentity {
  return { pid, since: stat(pid)?.since };
}

/** Whether that very process still runs. A zombie does not. */
export function isAlive({ pid, since }: ProcessIdentity): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = stat(pid);
  return now === undefined || (now.state !== 'Z' && (since === undefined || now.since === since));
}

/** Waits until nobody is left in a process group; when the time is up, kills who is. True when nobody had to be. */
export async function groupEnds(group: number, patienceMs: number): Promise<boolean> {
  const until = Date.now() + patienceMs;
  while (membersOf(group).length > 0) {
    if (Date.now() > until) {
      signalGroup(group, 'SIGKILL');
      return false;
    }
    await wait(25);
  }
  return true;
}

/** Sends a signal to all of a group; a group that is gone is no fault. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The living processes of a group. */
export function membersOf(group: number): number[] {
  let pids: string[];
  try {
    pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    // No /proc: the group itself can be asked whether it has anybody.
    try {
      process.kill(-group, 0);
      return [group];
    } catch {
      return [];
    }
  }
  return pids.map(Number).filter((pid) => {
    const found = stat(pid);
    return found !== undefined && found.group === group && found.state !== 'Z';
  });
}

function stat(pid: number): { state: string; group: number; since: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may hold spaces and brackets itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', group: Number(fields[2]), since: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}
