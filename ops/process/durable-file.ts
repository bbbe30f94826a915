// Small JSON files that must survive a crash in one piece: what was written before is there, or what is written now,
// never half of it. Knows nothing of what stands in them.

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { z } from 'zod';

/**
 * What a file holds, or undefined when there is none.
 * @throws {Error} when it is there and is not what it should be: its state must not be forgotten silently.
 */
export function readDurable<T>(path: string, schema: z.ZodType<T>, what: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENOTDIR: a part of the path is no folder, so there is no such file either.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new Error(`${path} (${what}) cannot be read (${code}).`, { cause: error });
  }
  const broken = (why: string, cause?: unknown) =>
    new Error(`${path} (${what}) is broken: ${why}. Mend it, or move it away to begin without it.`, {
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw broken('it is not JSON', error);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw broken(`${issue?.path.join('.') || 'the whole of it'}: ${issue?.message ?? 'is not understood'}`);
}

/** Replaces a file: written beside it, forced to the disk, then renamed over it. */
export function writeDurable(path: string, value: unknown): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true });
  const fresh = `${path}.${process.pid}`;
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, path);
  // The new name itself lives in the folder.
  const opened = openSync(folder, 'r');
  try {
    fsyncSync(opened);
  } finally {
    closeSync(opened);
  }
}
