// What a node does now and then, by node-cron: keeps PM2's log files from filling the disk. PM2 itself never rotates.

import { copyFile, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import cron from 'node-cron';
import type { Log } from '../process/log.ts';

/** A log that is larger is turned into FILE.1, which replaces the one before it. */
const LOG_LIMIT_BYTES = 64 * 1024 * 1024;

/** Starts the chores; the answer stops them. `home` is PM2's. */
export function startChores(home: string, log: Log): () => Promise<void> {
  const task = cron.schedule('7 * * * *', async () => {
    const turned = await turnLogs([home, join(home, 'logs')], LOG_LIMIT_BYTES);
    if (turned.length > 0) log.info({ files: turned }, 'logs turned');
  });
  return async () => {
    await task.destroy();
  };
}

/**
 * Copies and truncates logs that are larger than allowed; PM2 and its apps append, so they go on at the new end. A
 * line written between the two steps is lost, which a log at its limit can bear.
 */
export async function turnLogs(folders: readonly string[], limitBytes: number): Promise<string[]> {
  const turned: string[] = [];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    for (const path of names.filter((name) => name.endsWith('.log')).map((name) => join(folder, name))) {
      const { size } = await stat(path);
      if (size <= limitBytes) continue;
      await copyFile(path, `${path}.1`);
      await truncate(path);
      turned.push(path);
    }
  }
  return turned;
}
