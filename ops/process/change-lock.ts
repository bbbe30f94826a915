// One change of a VM's processes at a time: a reload and a scaling each take this lock, kept as a small file in PM2's home.
// A lock whose holder has died holds nobody up.

import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

/** How asking for the lock ended. */
export type LockTry =
  | { readonly kind: 'taken'; readonly release: () => void }
  | { readonly kind: 'held'; readonly sentence: string };

const fileIn = (home: string) => join(home, 'change.lock');

/** Takes the lock of a PM2 home, or tells who has it. */
export function takeChangeLock(home: string, what: string): LockTry {
  const file = fileIn(home);
  mkdirSync(dirname(file), { recursive: true });
  const holder: Holder = { ...identify(process.pid), what, at: new Date().toISOString() };
  const fresh = `${file}.${process.pid}`;
  // Written elsewhere and linked: a lock is never there without its holder in it.
  writeFileSync(fresh, JSON.stringify(holder));
  try {
    for (;;) {
      try {
        linkSync(fresh, file);
        return { kind: 'taken', release: () => rmSync(file, { force: true }) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const present = read(file);
      if (present && lives(present)) return { kind: 'held', sentence: sentenceOf(present) };
      rmSync(file, { force: true });
    }
  } finally {
    rmSync(fresh, { force: true });
  }
}

/** Who has the lock, as a sentence; undefined while nobody has. */
export function changeUnderWay(home: string): string | undefined {
  const holder = read(fileIn(home));
  return holder && lives(holder) ? sentenceOf(holder) : undefined;
}

const lives = ({ pid, since }: Holder) => isAlive({ pid, since });

const sentenceOf = ({ what, pid, at }: Holder) => `${what} is under way (process ${pid}, since ${at})`;

function read(file: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined;
  }
}
