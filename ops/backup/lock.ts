// One backup at a time.

import { dirname } from 'node:path';
import { takeProcessLock } from '../process/process-lock.ts';
import { BackupFault } from './fault.ts';
import { makeFolders } from './ownership.ts';

/**
 * Runs work while nobody else does.
 * @throws {BackupFault} when somebody else does.
 */
export async function whileLocked<T>(path: string, work: () => Promise<T>): Promise<T> {
  await makeFolders(dirname(path), 0o700);
  const lock = takeProcessLock(path, 'Another backup');
  if (lock.kind === 'held') throw new BackupFault(`${lock.sentence}; nothing was done.`);
  try {
    return await work();
  } finally {
    lock.release();
  }
}
