// What a release is called, what it says of itself, and what a tarball must be to be one. Pure.

import { z } from 'zod';

/** The file at a release's top that says which one it is. */
export const RELEASE_FILE = 'RELEASE';

/** What a release may weigh unpacked: 650 MB. */
export const UNPACKED_LIMIT_BYTES = 650_000_000;

/** Names of releases: they become folders, file names, header values and labels. */
export const releaseIdSchema = z.string().regex(/^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/);
export const RELEASE_ID_RULE =
  'letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 64 characters';

/** {@link RELEASE_FILE}. */
export const releaseSchema = z.object({
  id: releaseIdSchema,
  version: z.string().min(1),
  /** The commit that it was made from. */
  commit: z.string().regex(/^[0-9a-f]{40,64}$/),
  built_at: z.iso.datetime(),
  /** The Node that it was built with. */
  node: z.string().min(1),
  /** The only machines that it runs on, such as linux-x64: its native libraries are for nobody else. */
  platform: z.string().regex(/^[a-z0-9]+-[a-z0-9_]+$/),
});
export type Release = z.infer<typeof releaseSchema>;

/** The name of a release that was given none. */
export const releaseIdOf = (version: string, commit: string) => `${version}-${commit.slice(0, 10)}`;

/** The folder that a release's tarball holds. */
export const releaseFolderOf = (id: string) => `toonfleet-${id}`;

/** One member of a tarball. */
export interface Member {
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly bytes: number;
  /** Where a link leads. */
  readonly target?: string;
}

/** What speaks against a tarball's members; a tarball that passes unpacks into its one folder and nowhere else. */
export function faultsOfMembers(members: readonly Member[]): string[] {
  const [top = ''] = members[0]?.path.split('/') ?? [];
  if (!/^toonfleet-[0-9A-Za-z]/.test(top)) return [`it begins with "${top}" instead of toonfleet-ID/`];
  const faults: string[] = [];
  const paths = new Set(members.map(({ path }) => path));
  for (const { path, kind, target } of members) {
    if (path.split('/')[0] !== top || path.split('/').includes('..'))
      faults.push(`${path} lies outside of ${top}/`);
    else if (kind === 'other') faults.push(`${path} is neither a file, a folder nor a link`);
    else if (kind === 'link' && !staysInside(path, target ?? '')) faults.push(`${path} leads to ${target}`);
  }
  for (const needed of [RELEASE_FILE, 'package.json', 'ops/toonfleet.mjs', 'dist/ops/cli.js'])
    if (!paths.has(`${top}/${needed}`)) faults.push(`${needed} is missing`);
  const bytes = unpackedBytes(members);
  if (bytes > UNPACKED_LIMIT_BYTES)
    faults.push(`it has ${megabytes(bytes)} unpacked, and may have ${megabytes(UNPACKED_LIMIT_BYTES)}`);
  return faults;
}

/** What the files have together. */
export const unpackedBytes = (members: readonly Member[]) =>
  members.reduce((sum, { bytes }) => sum + bytes, 0);

/** Bytes for people. */
export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Whether a link of a tarball stays below its top folder. */
function staysInside(path: string, target: string): boolean {
  if (target === '' || target.startsWith('/')) return false;
  let depth = path.split('/').length - 2;
  for (const part of target.split('/')) {
    depth += part === '..' ? -1 : part === '.' || part === '' ? 0 : 1;
    if (depth < 0) return false;
  }
  return true;
}
