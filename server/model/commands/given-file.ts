// Files that the operator names on the command line: what is not there is told by its path.

import { readFile, stat } from 'node:fs/promises';
import { ModelFault } from '../entries/fault.ts';

/** @throws {ModelFault} when there is no file of this path. */
export async function requireFile(path: string): Promise<void> {
  const found = await ignoreMissing(stat(path));
  if (!found?.isFile()) throw new ModelFault(`${path}: there is no such file`);
}

/**
 * A file's bytes.
 * @throws {ModelFault} when there is nothing of this path.
 */
export async function readGiven(path: string): Promise<Buffer> {
  const bytes = await ignoreMissing(readFile(path));
  if (!bytes) throw new ModelFault(`${path}: there is no such file`);
  return bytes;
}

async function ignoreMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
