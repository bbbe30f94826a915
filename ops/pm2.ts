// Runs PM2 as the separate program that it is (AGPL-3.0; nothing of ours imports it), with a home of our own: starts it,
// knows what it leaves in its home, and ends all that it runs. Commands to a running PM2: process/pm2-command.ts.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type App, pm2Environment } from './apps.ts';
import { PACKAGE_ROOT } from './process/package.ts';
import { belongsTo, PM2_BIN } from './process/pm2-command.ts';
import { environmentOf, identify, isAlive, statOf } from './process/process-identity.ts';

export { pm2Answers, pm2CommandLine, runPm2 } from './process/pm2-command.ts';
export { identify, isAlive, type ProcessIdentity } from './process/process-identity.ts';

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
export function spawnRuntime(
  home: string,
  apps: readonly App[],
  env: NodeJS.ProcessEnv,
  early?: Readonly<Record<string, string>>,
): ChildProcess {
  const file = join(home, 'apps.json');
  writeFileSync(file, JSON.stringify({ apps }, null, 2));
  const inFront = ['--import', pathToFileURL(join(PACKAGE_ROOT, 'dist/ops/handed-over.js')).href];
  return spawn(process.execPath, [...inFront, join(PM2_BIN, 'pm2-runtime'), 'start', file, '--raw'], {
    env: pm2Environment(env, home, early),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
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
  if (pids.length > 0) return pids.map(Number).filter((pid) => statOf(pid)?.group === group);
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

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
