// Brings files and an entry into the folder of added models, whole or not at all.

import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../atomic-file.ts';
import { inTurn } from '../variants/turn.ts';
import { ModelFault } from './fault.ts';
import { installedIn } from './installed.ts';
import { type AnyEntry, addedManifestPath, readManifest } from './manifest.ts';
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
 * Changes the entries of the manifest, which is there.
 * @throws {ModelFault} as {@link readManifest}.
 */
export async function changeEntries(dir: string, change: (entry: AnyEntry) => AnyEntry): Promise<void> {
  const manifest = addedManifestPath(dir);
  await alone(dir, async () =>
    writeFileAtomically(manifest, manifestText(readManifest(manifest).models.map(change))),
  );
}

/** Between reading the manifest and writing it no other command of this machine does so. */
const alone = (dir: string, work: () => Promise<void>) => inTurn(`${addedManifestPath(dir)}.lock`, work);

async function enterAlone(entry: AnyEntry, files: readonly Brought[], dir: string): Promise<void> {
  // Before anything is copied: somebody else may have entered the same name meanwhile.
  refuseTaken(entry.name, dir);
  const manifest = addedManifestPath(dir);
  const before = existsSync(manifest) ? readManifest(manifest).models : [];
  for (const { from, to } of files) await copyAtomically(from, join(dir, to));
  await writeFileAtomically(manifest, manifestText([...before, entry]));
  // Reading it back finds a style that somebody else has already, before any worker does.
  try {
    installedIn(dir);
  } catch (error) {
    await writeFileAtomically(manifest, manifestText(before));
    for (const { to } of files) await unlink(join(dir, to));
    throw error;
  }
}

/** @throws {ModelFault} when something of this name is installed. */
export function refuseTaken(name: string, dir: string): void {
  const { models, composites, detectors } = installedIn(dir);
  if ([...models, ...composites, ...detectors].some((each) => each.name === name))
    throw new ModelFault(`a model ${name} is installed already; choose another --name`);
}

async function copyAtomically(from: string, to: string): Promise<void> {
  const beside = `${to}.part`;
  await copyFile(from, beside);
  // The copy is what will be served, so the copy is what has to be whole.
  if (!(await readFile(from)).equals(await readFile(beside))) {
    await unlink(beside);
    throw new ModelFault(`${from} changed while it was copied`);
  }
  await rename(beside, to);
}
