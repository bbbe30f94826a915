// Lets the processes of a machine do something one after the other: what the first has found out is there for the next. A
// lock is a file with its holder's process id, and a word that no other lock has. One whose holder has died, or that is older than any such work takes, is
// passed over; so a crash costs a wait and no start.

import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
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

/** Rewriting and measuring the heaviest models takes half a minute on a busy machine; PM2 waits two minutes for a whole start. */
const PATIENCE: Patience = { mostMs: 60_000, pollMs: 100, staleMs: 120_000 };

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
    if (mine !== undefined) await remove(lock, mine);
  }
}

/** What stands in the lock that is ours; undefined when it is to be done without. */
async function take(lock: string, { mostMs, pollMs, staleMs }: Patience): Promise<string | undefined> {
  const end = performance.now() + mostMs;
  const mine = `${process.pid} ${randomUUID()}`;
  await mkdir(dirname(lock), { recursive: true }).catch(() => {});
  for (;;) {
    try {
      await make(lock, mine);
      return mine;
    } catch (error) {
      // A disk that is full or read-only: what follows will find a place for its result or do without one.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return undefined;
    }
    if (performance.now() >= end) return undefined;
    const abandoned = await abandonedText(lock, staleMs);
    if (abandoned !== undefined) await remove(lock, abandoned);
    else await sleep(pollMs);
  }
}

async function make(lock: string, text: string): Promise<void> {
  const file = await open(lock, 'wx');
  try {
    await file.writeFile(text);
  } catch (error) {
    // On a full disk it could be made and not written to; others would wait for nobody.
    await rm(lock, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Removes a lock that says this, and no other that was made in its place meanwhile. */
async function remove(lock: string, text: string): Promise<void> {
  const aside = `${lock}.${randomUUID()}`;
  try {
    if ((await readFile(lock, 'utf8')) !== text) return;
    // Looked at again where nobody else can change it: two may have found the same lock abandoned.
    await rename(lock, aside);
    if ((await readFile(aside, 'utf8')) !== text) await link(aside, lock);
  } catch {
    // It has gone, or there is a newer one.
  } finally {
    await rm(aside, { force: true });
  }
}

/** What stands in a lock that nobody works behind any more; undefined for one that is to be waited for. */
async function abandonedText(lock: string, staleMs: number): Promise<string | undefined> {
  let text: string | undefined;
  try {
    // In this order: the age of a newer lock spares it, its words would condemn it.
    text = await readFile(lock, 'utf8');
    const { mtimeMs } = await stat(lock);
    if (Date.now() - mtimeMs > staleMs) return text;
    const holder = Number(text.split(' ', 1)[0]);
    // Just made, and its holder has not written its id yet.
    if (!Number.isInteger(holder) || holder <= 0) return undefined;
    process.kill(holder, 0);
    return undefined;
  } catch (error) {
    // No such process; anything else, such as a lock that has gone meanwhile, is looked at again.
    return (error as NodeJS.ErrnoException).code === 'ESRCH' ? text : undefined;
  }
}
