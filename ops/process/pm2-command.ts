// Gives commands to a running PM2 as a person would type them. The only file that knows where PM2's programs lie.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { pm2Environment } from '../apps.ts';
import { environmentOf, readText } from './process-identity.ts';

/** The folder of PM2's programs, wherever the package manager has put it. */
export const PM2_BIN = join(dirname(createRequire(import.meta.url).resolve('pm2/package.json')), 'bin');

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

/** Whether a process was started with this home: a number in a pid file may have become somebody else's. */
export function belongsTo(pid: number, home: string): boolean {
  return environmentOf(pid).includes(`PM2_HOME=${home}`);
}
