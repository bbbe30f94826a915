// Where the package lies, which version it is, and which release; the same from source and from dist/.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RELEASE_FILE, releaseSchema } from '../release/release.ts';

/** The folder that holds package.json, the embedded models and the page. */
export const PACKAGE_ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));

/** The version of package.json. */
export const VERSION = (
  JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string }
).version;

/** The release that this is: by its RELEASE file, or the version where there is none, as in a checkout. */
export const RELEASE = releaseIn(PACKAGE_ROOT) ?? VERSION;

/**
 * The id in a folder's RELEASE file; undefined without one.
 * @throws {Error} when there is one that says nothing: to run under another release's name would deceive a rollout.
 */
export function releaseIn(folder: string): string | undefined {
  const path = join(folder, RELEASE_FILE);
  if (!existsSync(path)) return undefined;
  try {
    return releaseSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).id;
  } catch (error) {
    throw new Error(`${path} does not say which release this is; unpack the release again.`, {
      cause: error,
    });
  }
}

function findRoot(start: string): string {
  let dir = start;
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error(`no package.json above ${start}`);
    dir = parent;
  }
  return dir;
}
