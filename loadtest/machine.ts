// Where a run was made: machine, system and commit. A figure without them says nothing.

import { execFileSync } from 'node:child_process';
import { arch, cpus, release, totalmem, type } from 'node:os';
import { usableCores } from '../ops/process/cores.ts';
import { PACKAGE_ROOT } from '../ops/process/package.ts';
import type { Run } from './result.ts';

/** This machine. */
export function thisMachine(): Run['machine'] {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() || 'unknown',
    cores: usableCores(),
    memory_gb: Math.round(totalmem() / 1e8) / 10,
    os: `${type()} ${release()} ${arch()}`,
    node: process.version,
  };
}

/** The commit of this checkout, with a plus sign when files differ from it; null where there is no checkout. */
export function thisCommit(): string | null {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', PACKAGE_ROOT, ...args], {
        stdio: ['ignore', 'pipe', 'ignore'],
        encoding: 'utf8',
      }).trim();
    return `${git('rev-parse', '--short=10', 'HEAD')}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'}`;
  } catch {
    return null;
  }
}
