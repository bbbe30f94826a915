// One backup at a time: a file that names the process that works. One that is left by a process that is gone is taken away.

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify, isAlive } from '../pm2.ts';
import { BackupFault } from './fault.ts';
import { makeFolders } from './ownership.ts';

/**
 * Runs work while nobody else does.
 * @throws {BackupFault} when somebody else does.
 */
export async function whileLocked<T>(path: string, work: () => Promise<T>): Promise<T> {
  await makeFolders(dirname(path), 0o700);
  if (!take(path)) {
    const holder = read(path);
    if (holder && isAlive(holder))
      throw new BackupFault(`Another backup is under way (process ${holder.pid}); nothing was done.`);
    // Of several that find it left behind only one can rename it.
    const left = `${path}.${process.pid}`;
    try {
      renameSync(path, left);
      rmSync(left, { force: true });
    } catch {
      // Somebody else took it away.
    }
    if (!take(path)) throw new BackupFault('Another backup has just begun; nothing was done.');
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    writeFileSync(path, JSON.stringify(identify(process.pid)), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function read(path: string): { pid: number; since: string | undefined } | undefined {
  try {
    const { pid, since } = JSON.parse(readFileSync(path, 'utf8')) as { pid: unknown; since: unknown };
    if (typeof pid !== 'number' || !Number.isInteger(pid) || pid < 1) return undefined;
    return { pid, since: typeof since === 'string' ? since : undefined };
  } catch {
    return undefined;
  }
}
