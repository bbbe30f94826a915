// Files and folders that must be on the disk before anybody relies on them.

import { type FileHandle, open } from 'node:fs/promises';

/** Writes a new file, and returns once the disk has it. */
export async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  await closing(await open(path, 'wx', mode), async (file) => {
    await file.writeFile(text);
    await file.sync();
  });
}

/** Returns once the disk has what a file holds, or the names that a folder has. */
export async function sync(path: string): Promise<void> {
  await closing(await open(path, 'r'), (file) => file.sync());
}

async function closing(file: FileHandle, use: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
