// What a node does now and then, by node-cron: keeps PM2's log files from filling the disk, where nobody else does.
// PM2 itself never rotates; it opens its files anew when it is told to.

import { access, copyFile, readdir, rename, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import cron from 'node-cron';
import type { Log } from '../process/log.ts';
import { ownCommand } from './own-command.ts';

/** What the chores need to know. */
export interface ChoreParts {
  /** PM2's home. */
  readonly home: string;
  /** Logs beyond it are turned; 0 leaves them to somebody else. */
  readonly limitBytes: number;
  readonly configFile: string | undefined;
  readonly log: Log;
}

/** Starts the chores; the answer stops them. */
export function startChores({ home, limitBytes, configFile, log }: ChoreParts): () => Promise<void> {
  if (limitBytes === 0) return async () => {};
  const reopen = async () => (await ownCommand(['logs', 'reopen'], configFile)).code === 0;
  const task = cron.schedule('7 * * * *', async () => {
    const { turned, fault } = await turnLogs(join(home, 'logs'), limitBytes, reopen);
    if (fault !== undefined) log.warn({ fault }, 'logs were not turned');
    // PM2's own log, which it never opens anew.
    const own = await cutLogs(home, limitBytes);
    if (turned.length + own.length > 0) log.info({ files: [...turned, ...own] }, 'logs turned');
  });
  return async () => {
    await task.destroy();
  };
}

/**
 * Turns the logs of a folder that are larger than allowed into FILE.1, which replaces the one before it: they are renamed,
 * and `reopen` has their writers go on in a new file, so that no line is lost. Where that fails they get their names back.
 * Their writers have not let go of them then.
 */
export async function turnLogs(
  folder: string,
  limitBytes: number,
  reopen: () => Promise<boolean>,
): Promise<{ readonly turned: string[]; readonly fault?: string }> {
  const turned: string[] = [];
  let fault: string | undefined;
  for (const path of await largerLogs(folder, limitBytes)) {
    try {
      await rename(path, `${path}.1`);
      turned.push(path);
    } catch (error) {
      fault = `${path} could not be renamed (${(error as NodeJS.ErrnoException).code})`;
    }
  }
  const told = fault === undefined ? {} : { fault };
  if (turned.length === 0 || (await reopen().catch(() => false))) return { turned, ...told };
  for (const path of turned) if (!(await isThere(path))) await rename(`${path}.1`, path);
  return { turned: [], fault: 'PM2 could not be told to open its logs anew' };
}

/** Copies and truncates the logs of a folder that are larger than allowed; a line written between the two steps is lost. */
export async function cutLogs(folder: string, limitBytes: number): Promise<string[]> {
  const larger = await largerLogs(folder, limitBytes);
  for (const path of larger) {
    await copyFile(path, `${path}.1`);
    await truncate(path);
  }
  return larger;
}

async function largerLogs(folder: string, limitBytes: number): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const larger: string[] = [];
  for (const path of names.filter((name) => name.endsWith('.log')).map((name) => join(folder, name)))
    if ((await stat(path)).size > limitBytes) larger.push(path);
  return larger;
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
