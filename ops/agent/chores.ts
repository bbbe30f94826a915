// What a node does now and then, by node-cron: keeps PM2's log files from filling the disk, where nobody else does.
// PM2 itself never rotates; it opens its files anew when it gets SIGUSR2.

import { copyFile, readdir, readFile, rename, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import cron from 'node-cron';
import type { Log } from '../process/log.ts';

/** Starts the chores; the answer stops them. `home` is PM2's; a limit of 0 leaves the logs to somebody else. */
export function startChores(home: string, limitBytes: number, log: Log): () => Promise<void> {
  if (limitBytes === 0) return async () => {};
  const task = cron.schedule('7 * * * *', async () => {
    const pm2 = await pm2Of(home, process.ppid);
    const reopen = pm2 === undefined ? undefined : () => process.kill(pm2, 'SIGUSR2');
    const turned = [
      ...(await turnLogs(join(home, 'logs'), limitBytes, reopen)),
      // PM2's own log, which it never opens anew.
      ...(await turnLogs(home, limitBytes)),
    ];
    if (turned.length > 0) log.info({ files: turned }, 'logs turned');
  });
  return async () => {
    await task.destroy();
  };
}

/** The parent, when it is the PM2 of this home: whoever else it may be, SIGUSR2 would end it. */
export async function pm2Of(home: string, parent: number): Promise<number | undefined> {
  const noted = await readFile(join(home, 'pm2.pid'), 'utf8').catch(() => '');
  return Number(noted) === parent ? parent : undefined;
}

/**
 * Turns the logs of a folder that are larger than allowed into FILE.1, which replaces the one before it. They are renamed
 * and `reopen` has their writers go on in a new file: nothing is lost. Without it they are copied and truncated, and a line
 * that is written between the two steps is lost.
 */
export async function turnLogs(
  folder: string,
  limitBytes: number,
  reopen?: () => unknown,
): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const turned: string[] = [];
  for (const path of names.filter((name) => name.endsWith('.log')).map((name) => join(folder, name))) {
    const { size } = await stat(path);
    if (size <= limitBytes) continue;
    if (reopen) {
      await rename(path, `${path}.1`);
    } else {
      await copyFile(path, `${path}.1`);
      await truncate(path);
    }
    turned.push(path);
  }
  if (turned.length > 0) reopen?.();
  return turned;
}
