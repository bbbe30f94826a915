// From a name of the catalogue to a file in the models' folder: what is known of it, where it may come from, and the way
// there. Adding it to the manifest is the command's.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelFault } from '../entries/fault.ts';
import { CATALOGUE, type CatalogueEntry } from './catalogue.ts';
import { download } from './download.ts';
import { progressBar, type Terminal } from './progress.ts';

/** Weights of this family are 2 to 10 MB, those of DCT-Net up to 50; more is something else. */
const MOST_BYTES = 300 * 2 ** 20;
const PATIENCE_MS = 30_000;
const PAUSE_MS = 500;

/** What a pull needs of the settings. */
export interface PullSettings {
  readonly dir: string;
  readonly mirrors: readonly string[];
  readonly proxy: string;
}

/** A model that was brought here. */
export interface Pulled {
  readonly path: string;
  readonly sha256: string;
  /** False when nobody knew the digest before. */
  readonly pinned: boolean;
}

/**
 * The entry of a name; letter case, dashes and underscores do not matter.
 * @throws {ModelFault} that lists what there is.
 */
export function entryOf(name: string, catalogue: readonly CatalogueEntry[] = CATALOGUE): CatalogueEntry {
  const plain = (text: string) => text.toLowerCase().replace(/[-_. ]/g, '');
  const found = catalogue.find((each) =>
    [each.name, ...each.aliases].some((known) => plain(known) === plain(name)),
  );
  if (found) return found;
  throw new ModelFault(
    `the catalogue has no ${name}; it has ${catalogue.map((each) => each.name).join(', ')}. For a file of your own: toonfleet models add FILE`,
  );
}

/** Where a file may come from: each mirror, then its source. A mirror keeps https://HOST/PATH as MIRROR/HOST/PATH. */
export function placesOf(url: string, mirrors: readonly string[]): string[] {
  const { host, pathname } = new URL(url);
  return [...mirrors.map((mirror) => `${mirror.replace(/\/+$/, '')}/${host}${pathname}`), url];
}

/**
 * Brings the weights of an entry here.
 * @throws {ModelFault} when they cannot be had, with what to do.
 */
export async function pull(
  entry: CatalogueEntry,
  { dir, mirrors, proxy }: PullSettings,
  { sha256 = undefined as string | undefined, terminal = process.stderr as Terminal } = {},
): Promise<Pulled> {
  const { weights, name } = entry;
  if (weights.kind === 'elsewhere') throw new ModelFault(`${name} ${weights.advice}`);
  await mkdir(dir, { recursive: true });
  const path = join(dir, `${name}.pulled`);
  const pinned = sha256 ?? weights.sha256;
  const bar = progressBar(name, terminal);
  try {
    const found = await download({
      urls: placesOf(weights.url, mirrors),
      to: path,
      mostBytes: MOST_BYTES,
      sha256: pinned,
      reach: { proxy, patienceMs: PATIENCE_MS },
      pauseMs: PAUSE_MS,
      progress: bar.show,
      say: (sentence) => void terminal.write(`${sentence}\n`),
    });
    return { path, sha256: found, pinned: pinned !== undefined };
  } finally {
    bar.done();
  }
}
