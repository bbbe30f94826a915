// Writes a file whole or not at all: beside it first, flushed, then renamed over it.

import { randomBytes } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';

/** Writes a file so that a reader sees the old one or the new one. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const beside = `${path}.${randomBytes(6).toString('hex')}.part`;
  try {
    const file = await open(beside, 'wx', 0o644);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await unlink(beside).catch(() => {});
    // Node names no path where it is a write that fails, as on a full disk.
    if (error instanceof Error && 'syscall' in error && !('path' in error)) error.message += ` '${path}'`;
    throw error;
  }
}
