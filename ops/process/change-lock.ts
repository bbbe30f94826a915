// One change of a VM's processes at a time: a reload and a scaling each take this lock, kept as a small file in PM2's home.

import { join } from 'node:path';
import { type LockTry, lockedBy, takeProcessLock } from './process-lock.ts';

const fileIn = (home: string) => join(home, 'change.lock');

/** Takes the lock of a PM2 home, or tells who has it. */
export function takeChangeLock(home: string, what: string): LockTry {
  return takeProcessLock(fileIn(home), what);
}

/** Who has the lock, as a sentence; undefined while nobody has. */
export function changeUnderWay(home: string): string | undefined {
  return lockedBy(fileIn(home));
}
