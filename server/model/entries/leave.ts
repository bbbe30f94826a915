// Takes an entry and its files out of the folder of added models. The manifest first: who reads it at this moment finds every
// file that it names.

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { alone, writeEntries } from './enter.ts';
import { filesOf } from './entry-files.ts';
import { ModelFault } from './fault.ts';
import { type AnyEntry, addedEntries } from './manifest.ts';

/**
 * Removes an entry and those of its files that no other entry names.
 * @param refuse Throws when the entry has to stay.
 * @returns The files.
 * @throws {ModelFault} when nothing of this name was added, or a composite draws with it.
 */
export async function leave(
  name: string,
  dir: string,
  { refuse, dryRun = false }: { refuse: (entry: AnyEntry) => void; dryRun?: boolean },
): Promise<readonly string[]> {
  return await alone(dir, async () => {
    const entries = addedEntries(dir);
    const entry = entries.find((each) => each.name === name);
    if (!entry) throw new ModelFault(`no ${name} was added to ${dir}; see: toonfleet models list`);
    refuse(entry);
    const others = entries.filter((each) => each !== entry);
    refusePart(name, others);
    const kept = new Set(others.flatMap(filesOf));
    const files = filesOf(entry)
      .filter((file) => !kept.has(file))
      .map((file) => join(dir, file));
    if (dryRun) return files;
    await writeEntries(others, dir);
    for (const file of files) await rm(file, { force: true });
    return files;
  });
}

function refusePart(name: string, others: readonly AnyEntry[]): void {
  const user = others.find(
    (each) => each.kind === 'face-composite' && [each.detector, each.face, each.background].includes(name),
  );
  if (user) throw new ModelFault(`${user.name} draws with ${name}; remove ${user.name} first`);
}
