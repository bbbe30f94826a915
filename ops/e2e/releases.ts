// Releases for tests of rollouts: the code as it is, packed as one would be, and changed where a test wants it bad.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../process/package.ts';
import { releaseFolderOf } from '../release/release.ts';
import { findAnsible } from '../rollout/ansible.ts';
import { noVms } from './vms.ts';

/** Why no release can be rolled out to VMs here, or false. */
export const noRollouts = (): string | false =>
  noVms() ||
  (!existsSync('/usr/bin/python3') && 'Ansible needs /usr/bin/python3 on its nodes') ||
  (findAnsible(process.env.PATH, []) === undefined && 'Ansible is missing (ops/rollout/install-tools.sh)');

/** A release of the code as it is, without its packages; `change` gets its folder before it is packed. */
export function makeRelease(
  folder: string,
  id: string,
  more: { version?: string; change?: (top: string) => void } = {},
): string {
  const top = join(folder, releaseFolderOf(id));
  mkdirSync(top);
  for (const part of [
    'package.json',
    'dist',
    'server/models',
    'balancer/page',
    'docs/openapi.json',
    'ops/toonfleet.mjs',
    'ops/rollout',
  ])
    cpSync(join(PACKAGE_ROOT, part), join(top, part), { recursive: true });
  const release = {
    id,
    version: more.version ?? '1.0.0',
    commit: createHash('sha1').update(id).digest('hex'),
    built_at: new Date().toISOString(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
  writeFileSync(join(top, 'RELEASE'), JSON.stringify(release));
  more.change?.(top);
  const tarball = join(folder, `${releaseFolderOf(id)}.tar.gz`);
  execFileSync('tar', ['-czf', tarball, '-C', folder, releaseFolderOf(id)]);
  const digest = createHash('sha256').update(readFileSync(tarball)).digest('hex');
  writeFileSync(`${tarball}.sha256`, `${digest}  ${releaseFolderOf(id)}.tar.gz\n`);
  rmSync(top, { recursive: true });
  return tarball;
}
