// Which process a number means: numbers are given again, the moment of a beginning is not. Where there is no /proc (macOS)
// it tells what it can.

import { readFileSync } from 'node:fs';

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, in ticks since boot; undefined where the system does not tell. */
  readonly since: string | undefined;
}

/** The identity of a running process. */
export function identify(pid: number): ProcessIdentity {
  return { pid, since: statOf(pid)?.since };
}

/** Whether that very process still runs. A zombie does not. */
export function isAlive({ pid, since }: ProcessIdentity): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = statOf(pid);
  return now === undefined || (now.state !== 'Z' && (since === undefined || now.since === since));
}

/** What a process was started with, as NAME=VALUE; empty when that cannot be read. */
export function environmentOf(pid: number): string[] {
  return (readText(`/proc/${pid}/environ`) ?? '').split('\0');
}

/** A file's text; undefined where it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** What the kernel tells of a process: its state, its process group, when it began. */
export function statOf(pid: number): { state: string; group: number; since: string } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // Behind the name, which may hold spaces and brackets itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', group: Number(fields[2]), since: fields[19] ?? '' };
}
