// Who owns what a backup or a restore writes. Done by root for a service with a user of its own, it belongs to whoever owns
// the folder that it goes into, so that the service can read it and the next backup can go on; secrets stay root's.

import { existsSync, statSync } from 'node:fs';
import { chown, lstat, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const isRoot = () => process.geteuid?.() === 0;

/** Whoever owns the nearest folder above that is there. */
export function ownerAbove(path: string): { uid: number; gid: number } {
  let folder = dirname(path);
  while (!existsSync(folder)) folder = dirname(folder);
  const { uid, gid } = statSync(folder);
  return { uid, gid };
}

/** Makes a folder and those above it that are missing. */
export async function makeFolders(folder: string, mode = 0o755): Promise<void> {
  const { uid, gid } = ownerAbove(folder);
  const missing: string[] = [];
  for (let at = folder; !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const each of missing) {
    // Somebody else may make it at the same moment.
    await mkdir(each, { recursive: true, mode });
    if (isRoot()) await chown(each, uid, gid);
  }
}

/** Gives one file to the owner of its folder. */
export async function giveAway(path: string): Promise<void> {
  const { uid, gid } = ownerAbove(path);
  if (isRoot()) await chown(path, uid, gid);
}

/** Gives a folder and all that is in it to the owner of the folder above, except for files with secrets. */
export async function giveAwayAll(top: string): Promise<void> {
  if (!isRoot() || !existsSync(top)) return;
  const { uid, gid } = ownerAbove(top);
  await chown(top, uid, gid);
  for (const entry of await readdir(top, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const secret = entry.isFile() && path.slice(top.length).includes('/secrets/');
    if ((entry.isFile() || entry.isDirectory()) && !secret && (await lstat(path)).uid !== uid)
      await chown(path, uid, gid);
  }
}
