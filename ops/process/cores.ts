// How many cores this process may really use: CPU affinity, and the quota of its cgroup (v1 and v2).
// PM2's "max" and os.cpus() see neither.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

/** Reads a small file; undefined where there is none. An argument in tests. */
export type ReadText = (path: string) => string | undefined;

const readText: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** Whole cores that this process may use, at least 1: the smaller of affinity and cgroup quota, rounded down. */
export function usableCores(affinity: number = availableParallelism(), read: ReadText = readText): number {
  return Math.max(1, Math.floor(Math.min(affinity, cgroupQuota(read))));
}

/** The tightest CPU quota from this process's cgroup up to the root, in cores; Infinity where there is none. */
export function cgroupQuota(read: ReadText = readText): number {
  const groups = (read('/proc/self/cgroup') ?? '').split('\n').map((line) => line.split(':'));
  const quotas = groups.flatMap(([, controllers, path]) => {
    if (path === undefined) return [];
    if (controllers === '') {
      return ancestors(path).map((dir) => quotaV2(read(join('/sys/fs/cgroup', dir, 'cpu.max'))));
    }
    if (!controllers?.split(',').includes('cpu')) return [];
    return ancestors(path).map((dir) => quotaV1(read, join('/sys/fs/cgroup/cpu', dir)));
  });
  return Math.min(Number.POSITIVE_INFINITY, ...quotas);
}

/** A cgroup path and all above it; inside a container the path of the host may not exist, its root always does. */
function ancestors(path: string): string[] {
  return path === '/' || path === '.' ? ['/'] : [path, ...ancestors(dirname(path))];
}

function quotaV2(text: string | undefined): number {
  const [quota, period] = (text ?? 'max').trim().split(/\s+/).map(Number);
  return quota && period ? quota / period : Number.POSITIVE_INFINITY;
}

function quotaV1(read: ReadText, dir: string): number {
  const quota = Number(read(join(dir, 'cpu.cfs_quota_us')) ?? -1);
  const period = Number(read(join(dir, 'cpu.cfs_period_us')) ?? 0);
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
}
