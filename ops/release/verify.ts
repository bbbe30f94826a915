// Judges a release's tarball before anybody unpacks it: its digest, its members, what it says of itself.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  faultsOfMembers,
  RELEASE_FILE,
  type Release,
  releaseFolderOf,
  releaseSchema,
  unpackedBytes,
} from './release.ts';
import { digestOf, membersOf, TarballFault, textOf } from './tarball.ts';

/** What was found. */
export interface Verdict {
  readonly faults: readonly string[];
  readonly release: Release | undefined;
  readonly sha256: string | undefined;
  readonly unpackedBytes: number;
}

/** Judges a tarball by itself and by the `.sha256` beside it. */
export async function verifyRelease(tarball: string): Promise<Verdict> {
  const verdict = (faults: string[], more: Partial<Verdict> = {}): Verdict => ({
    release: undefined,
    sha256: undefined,
    unpackedBytes: 0,
    ...more,
    faults,
  });
  let sha256: string;
  try {
    sha256 = await digestOf(tarball);
  } catch (error) {
    return verdict([`${tarball} cannot be read (${(error as NodeJS.ErrnoException).code})`]);
  }
  const promised = await promisedDigest(`${tarball}.sha256`);
  if (promised === undefined) return verdict([`${tarball}.sha256 is missing or holds no digest`], { sha256 });
  if (promised !== sha256)
    return verdict([`its SHA-256 is ${sha256}, and ${basename(tarball)}.sha256 says ${promised}`], {
      sha256,
    });
  try {
    const members = await membersOf(tarball);
    const faults = faultsOfMembers(members);
    if (faults.length > 0) return verdict(faults, { sha256 });
    const [top = ''] = members[0]?.path.split('/') ?? [];
    const parsed = releaseSchema.safeParse(parseJson(await textOf(tarball, `${top}/${RELEASE_FILE}`)));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return verdict([`its ${RELEASE_FILE} file is broken: ${issue?.path.join('.')}: ${issue?.message}`], {
        sha256,
      });
    }
    const release = parsed.data;
    const own = releaseFolderOf(release.id);
    return verdict(own === top ? [] : [`it says that it is ${own}, and its folder is ${top}`], {
      sha256,
      release,
      unpackedBytes: unpackedBytes(members),
    });
  } catch (error) {
    if (error instanceof TarballFault) return verdict([error.message], { sha256 });
    throw error;
  }
}

async function promisedDigest(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return /^([0-9a-f]{64})\b/.exec(text)?.[1];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
