// Brings files and an entry into the folder of added models, whole or not at all.

import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../atomic-file.ts';
import { inTurn } from '../variants/turn.ts';
import { filesOf } from './entry-files.ts';
import { ModelFault } from './fault.ts';
import { installedBy, installedIn } from './installed.ts';
import { type AnyEntry, addedEntries, addedManifestPath } from './manifest.ts';
import { manifestText } from './seal.ts';

/** A file on its way: where it lies, and its name in the folder. */
export interface Brought {
  readonly from: string;
  readonly to: string;
}

/**
 * Copies the files and enters the entry.
 * @throws {ModelFault} when the manifest would not be valid with it; everything is as before then.
 */
export async function enter(entry: AnyEntry, files: readonly Brought[], dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  await alone(dir, () => enterAlone(entry, files, dir));
}

/**
 * Changes the entries of the manifest.
 * @throws {ModelFault} as {@link addedEntries}.
 */
export async function changeEntries(dir: string, change: (entry: AnyEntry) => AnyEntry): Promise<void> {
  await alone(dir, async () => writeEntries(addedEntries(dir).map(change), dir));
}

/** Between reading the manifest and writing it no other command of this machine does so. */
export const alone = <T>(dir: string, work: () => Promise<T>) =>
  inTurn(`${addedManifestPath(dir)}.lock`, work);

/** Writes the manifest; {@link alone}. */
export const writeEntries = (entries: readonly AnyEntry[], dir: string) =>
  writeFileAtomically(addedManifestPath(dir), manifestText(entries));

async function enterAlone(entry: AnyEntry, files: readonly Brought[], dir: string): Promise<void> {
  // Before anything is copied: somebody else may have entered the same name meanwhile.
  refuseTaken(entry.name, dir);
  const others = addedEntries(dir);
  for (const { to } of files) refuseNamed(to, others);
  const entries = [...others, entry];
  // Also before: what is refused was never there, neither for a worker that starts at this moment nor for the files.
  installedBy(entries, dir);
  const made: string[] = [];
  try {
    for (const { from, to } of files) {
      const path = join(dir, to);
      // What lay there is not ours to take away again: it may be the very file that is added.
      if (!existsSync(path)) made.push(path);
      await copyAtomically(from, path);
    }
    await writeEntries(entries, dir);
  } catch (error) {
    for (const path of made) await rm(path, { force: true });
    throw error;
  }
}

/**
 * Looks whose file would be written over: a model `a.int8` would have the file of the variant int8 of `a`.
 * @throws {ModelFault} that names its model.
 */
export function refuseNamed(file: string, entries: readonly AnyEntry[]): void {
  const owner = entries.find((each) => filesOf(each).includes(file));
  if (owner)
    throw new ModelFault(`${file} is a file of ${owner.name} already; one of the two needs another name`);
}

/**
 * Looks early, so that nobody downloads or measures what cannot be entered.
 * @param style The id of the style that it is to draw, if any.
 * @throws {ModelFault} when something of this name is installed, or draws this style.
 */
export function refuseTaken(name: string, dir: string, style?: string): void {
  const { models, composites, detectors } = installedIn(dir);
  if ([...models, ...composites, ...detectors].some((each) => each.name === name))
    throw new ModelFault(`a model ${name} is installed already; choose another --name`);
  const owner = [...models, ...composites].find(({ styles }) => styles.some(({ id }) => id === style));
  if (owner) throw new ModelFault(`${owner.name} draws the style ${style} already; choose another --style`);
}

async function copyAtomically(from: string, to: string): Promise<void> {
  const beside = `${to}.part`;
  try {
    await copyFile(from, beside);
    // The copy is what will be served, so the copy is what has to be whole.
    if (!(await readFile(from)).equals(await readFile(beside)))
      throw new ModelFault(`${from} changed while it was copied`);
    await rename(beside, to);
  } finally {
    await rm(beside, { force: true });
  }
}
