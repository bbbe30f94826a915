// A file that says which living process has a lock, and why. One whose process has died holds nobody up, and of several who
// find such a one exactly one gets it. Knows nothing of what is locked.

import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { identify, isAlive } from './process-identity.ts';

const holderSchema = z.object({
  pid: z.number().int().positive(),
  since: z.string().optional(),
  /** What is being done, for people. */
  what: z.string(),
  at: z.iso.datetime(),
});
type Holder = z.infer<typeof holderSchema>;

/** How asking for a lock ended. */
export type LockTry =
  | { readonly kind: 'taken'; readonly release: () => void }
  | { readonly kind: 'held'; readonly sentence: string };

/** Takes a lock, or tells who has it. */
export function takeProcessLock(file: string, what: string): LockTry {
  mkdirSync(dirname(file), { recursive: true });
  const holder: Holder = { ...identify(process.pid), what, at: new Date().toISOString() };
  const fresh = `${file}.${process.pid}`;
  // Written elsewhere and linked: a lock is never there without its holder in it.
  writeFileSync(fresh, JSON.stringify(holder));
  try {
    return take(file, fresh);
  } finally {
    rmSync(fresh, { force: true });
  }
}

/** Who has a lock, as a sentence; undefined while nobody has. */
export function lockedBy(file: string): string | undefined {
  const found = look(file);
  return found.kind === 'held' ? found.sentence : undefined;
}

function take(file: string, fresh: string): LockTry {
  for (;;) {
    if (linked(fresh, file)) return { kind: 'taken', release: () => rmSync(file, { force: true }) };
    const found = look(file);
    switch (found.kind) {
      case 'held':
        return found;
      case 'dead': {
        const won = succeed(file, found.text, fresh);
        if (won) return won;
        break;
      }
      case 'free':
    }
  }
}

/**
 * Puts our lock in the place of a dead one. Who wants to needs a lock of its own first, named by what is in the dead one, and
 * has to find that one unchanged then: so nobody replaces the lock of who was quicker. Undefined when it has changed.
 */
function succeed(file: string, dead: string, fresh: string): LockTry | undefined {
  const claim = `${file}.after-${createHash('sha256').update(dead).digest('hex').slice(0, 16)}`;
  const claimed = take(claim, fresh);
  if (claimed.kind === 'held') return claimed;
  const found = look(file);
  if (found.kind !== 'dead' || found.text !== dead) {
    claimed.release();
    return undefined;
  }
  renameSync(claim, file);
  return { kind: 'taken', release: () => rmSync(file, { force: true }) };
}

function linked(fresh: string, file: string): boolean {
  try {
    linkSync(fresh, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** What stands there. A file that holds no lock was left behind; one that cannot be read may be anybody's. */
function look(
  file: string,
):
  | { readonly kind: 'free' }
  | { readonly kind: 'dead'; readonly text: string }
  | { readonly kind: 'held'; readonly sentence: string } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'free' };
    return { kind: 'held', sentence: `${file} cannot be read (${code})` };
  }
  const holder = holderIn(text);
  if (!holder || !isAlive({ pid: holder.pid, since: holder.since })) return { kind: 'dead', text };
  const { what, pid, at } = holder;
  return { kind: 'held', sentence: `${what} is under way (process ${pid}, since ${at})` };
}

function holderIn(text: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
