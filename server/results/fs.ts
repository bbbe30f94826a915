// Results as files: DIR/<2 characters of the random part>/<id>.<kind>. The only file of the store that touches the disk.
// All workers of a node share the folder: names never collide, writing is atomic, and deleting twice is no fault.

import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeOfResult, resultId } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { type PictureKind, pictureKinds } from '../../config/picture.ts';
import { formatSize } from '../../config/units.ts';
import type { ResultStore, StoredResult } from './store.ts';

/** Where results live and how much of them; `results` of the settings. */
export interface ResultSettings {
  readonly dir: string;
  readonly ttl: number;
  readonly budget: number;
}

/** A file that was being written when its worker died; nobody finishes it any more. */
const ABANDONED_MS = 600_000;

/** A store in a folder that the workers of one node share. */
export function createFsStore(
  node: string,
  { dir, ttl, budget }: ResultSettings,
  now: () => number = Date.now,
): ResultStore {
  /** What lies in the folder: counted by purge, and added to by this worker only; exact to one purge. */
  let used: number | undefined;

  const folderOf = (id: string) => join(dir, id.slice(id.lastIndexOf('.') + 1).slice(0, 2));
  const pathOf = (id: string, kind: PictureKind) => join(folderOf(id), `${id}.${kind}`);

  async function purge(): Promise<void> {
    let left = 0;
    for (const file of await filesOf(dir)) {
      const { mtimeMs, size } = (await ignoreMissing(stat(file))) ?? { mtimeMs: 0, size: 0 };
      const age = now() - mtimeMs;
      if (age > ttl || (file.endsWith('.part') && age > ABANDONED_MS)) await ignoreMissing(unlink(file));
      else left += size;
    }
    used = left;
  }

  return {
    purge,

    async put(bytes, kind) {
      if (used === undefined || used + bytes.length > budget) await purge();
      if ((used ?? 0) + bytes.length > budget) {
        throw new ToonError('storage_full', {
          detail: `Stored results fill their ${formatSize(budget)}; the bare picture (format=png) needs no room.`,
        });
      }
      const id = resultId(node, randomBytes(16).toString('base64url'));
      const path = pathOf(id, kind);
      try {
        await mkdir(folderOf(id), { recursive: true });
        await writeWhole(path, bytes);
      } catch (error) {
        await ignoreMissing(unlink(`${path}.part`));
        if (isCode(error, 'ENOSPC', 'EDQUOT')) throw new ToonError('storage_full', {}, { cause: error });
        throw error;
      }
      used = (used ?? 0) + bytes.length;
      return id;
    },

    async get(id) {
      if (nodeOfResult(id) !== node) return undefined;
      for (const kind of pictureKinds) {
        const path = pathOf(id, kind);
        const found = await ignoreMissing(stat(path));
        if (found && now() - found.mtimeMs <= ttl) {
          return {
            id,
            kind,
            bytes: found.size,
            storedAt: found.mtime,
            open: (start, end) => createReadStream(path, { start, end }),
          } satisfies StoredResult;
        }
      }
      return undefined;
    },
  };
}

/**
 * Writes beside and renames, so that a reader sees the whole file or none. Not forced to the disk: a result lost with its
 * machine's power is one more 404, and an answer that waits for the disk is a slower one.
 */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(`${path}.part`, 'wx', 0o640);
  try {
    await file.writeFile(bytes);
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
}

async function filesOf(dir: string): Promise<string[]> {
  const entries = (await ignoreMissing(readdir(dir, { withFileTypes: true, recursive: true }))) ?? [];
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function ignoreMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

const isCode = (error: unknown, ...codes: string[]) =>
  codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
