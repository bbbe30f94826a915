// Lets the processes of a machine do something one after the other: what the first has found out is there for the next. A
// lock is a file with its holder's process id. One whose holder has died, or that is older than any such work takes, is
// passed over; so a crash costs a wait and no start.

import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long others are waited for. */
export interface Patience {
  /** Then it is done without the lock. */
  readonly mostMs: number;
  readonly pollMs: number;
  /** A lock of this age is nobody's. */
  readonly staleMs: number;
}

/** Rewriting and measuring the heaviest models takes half a minute on a busy machine. */
const PATIENCE: Patience = { mostMs: 120_000, pollMs: 100, staleMs: 120_000 };

/**
 * Does some work when it is this process's turn. The work looks first whether somebody has done it meanwhile.
 * @param lock The lock's file; its folder is made. Where no file can be written, everybody works at once.
 */
export async function inTurn<T>(
  lock: string,
  work: () => Promise<T>,
  patience: Patience = PATIENCE,
): Promise<T> {
  const mine = await take(lock, patience);
  try {
    return await work();
  } finally {
    if (mine) await rm(lock, { force: true });
  }
}

/** True when the lock is ours; false when it is to be done without. */
async function take(lock: string, { mostMs, pollMs, staleMs }: Patience): Promise<boolean> {
  const end = performance.now() + mostMs;
  await mkdir(dirname(lock), { recursive: true }).catch(() => {});
  for (;;) {
    try {
      await writeFile(lock, String(process.pid), { flag: 'wx' });
      return true;
    } catch (error) {
      // A disk that is full or read-only: what follows will find a place for its result or do without one.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
    if (performance.now() >= end) return false;
    if (await isAbandoned(lock, staleMs)) await rm(lock, { force: true });
    else await sleep(pollMs);
  }
}

/** Whether nobody works behind a lock any more. */
async function isAbandoned(lock: string, staleMs: number): Promise<boolean> {
  try {
    const [text, { mtimeMs }] = [await readFile(lock, 'utf8'), await stat(lock)];
    if (Date.now() - mtimeMs > staleMs) return true;
    const holder = Number(text);
    // Just made, and its holder has not written its id yet.
    if (text === '' || !Number.isInteger(holder) || holder <= 0) return false;
    process.kill(holder, 0);
    return false;
  } catch (error) {
    // No such process; anything else, such as a lock that has gone meanwhile, is looked at again.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
