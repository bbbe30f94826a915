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

/**
 * Runs a PM2 command against a running PM2; `onOutput` gets what it prints. PM2's commands start a new daemon when they
 * find none, and nobody would ever stop that one: where none runs the command is not given, and a daemon that came up
 * because the old one left in that very moment is ended.
 */
export async function runPm2(
  home: string,
  args: readonly string[],
  onOutput: (text: string) => void = () => {},
): Promise<number> {
  const before = daemonPid(home);
  if (before === undefined || !(await pm2Answers(home))) {
    onOutput(`no PM2 runs with the home ${home}\n`);
    return 1;
  }
  const child = spawn(process.execPath, [join(PM2_BIN, 'pm2'), ...args], {
    env: pm2Environment(process.env, home),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', onOutput);
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
  const after = daemonPid(home);
  if (after === undefined || after === before || !belongsTo(after, home)) return code;
  process.kill(after, 'SIGTERM');
  onOutput('PM2 went away\n');
  return 1;
}

/** The PM2 of a home by its own pid file. */
function daemonPid(home: string): number | undefined {
  const pid = Number(readText(join(home, 'pm2.pid')) ?? Number.NaN);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
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

/** A PM2 that we started, with all that it runs. */
export interface Family {
  readonly home: string;
  /** pm2-runtime leads the group in which its cluster apps are; an app in fork mode has one of its own. */
  readonly group: number;
}

/** Waits until nobody of a family is left; when the time is up, kills who is. True when nobody had to be. */
export async function familyEnds(family: Family, patienceMs: number): Promise<boolean> {
  const until = Date.now() + patienceMs;
  while (livingOf(family).length > 0) {
    if (Date.now() > until) {
      killFamily(family);
      return false;
    }
    await wait(25);
  }
  return true;
}

/** Ends a family without asking. */
export function killFamily(family: Family): void {
  for (const pid of livingOf(family)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/**
 * The living processes of a family: PM2's group, and the apps that were started with its home. An app in fork mode has a
 * group of its own, and PM2 takes its pid file away before it has ended.
 */
export function livingOf({ home, group }: Family): number[] {
  const apps = namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isAppOf(pid, home));
  return [...new Set([...membersOf(group), ...apps])].filter((pid) => isAlive(identify(pid)));
}

function membersOf(group: number): number[] {
  const pids = namesIn('/proc').filter((name) => /^\d+$/.test(name));
  if (pids.length > 0) return pids.map(Number).filter((pid) => stat(pid)?.group === group);
  // No /proc: the group itself can be asked whether it has anybody.
  try {
    process.kill(-group, 0);
    return [group];
  } catch {
    return [];
  }
}

/** Whether PM2 started a process as an app of this home. A shell that only knows the home is nobody's app. */
function isAppOf(pid: number, home: string): boolean {
  return belongsTo(pid, home) && environmentOf(pid).some((entry) => entry.startsWith('pm_id='));
}

/** Whether a process was started with this home: a number in a pid file may have become somebody else's. */
function belongsTo(pid: number, home: string): boolean {
  return environmentOf(pid).includes(`PM2_HOME=${home}`);
}

function environmentOf(pid: number): string[] {
  return (readText(`/proc/${pid}/environ`) ?? '').split('\0');
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function stat(pid: number): { state: string; group: number; since: string } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // Behind the name, which may hold spaces and brackets itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', group: Number(fields[2]), since: fields[19] ?? '' };
}
