// Holds processes to a share of the machine's CPU by a control group, version 1 or 2, whichever this machine has. Makes
// and removes groups of its own; touches no other.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A group of processes that share a quota. */
export interface CpuShare {
  /** Words in front of a command that has to run in the group; its children stay in it. */
  readonly enter: readonly string[];
  /** How long the quota has held its processes back so far, s. */
  heldBackS(): number;
  /** Takes the group away, once its processes have ended. */
  remove(): Promise<void>;
}

/** A short period: who has used up the quota waits for milliseconds, not for a tenth of a second. */
const PERIOD_US = 20_000;
const V2 = '/sys/fs/cgroup';
/** A process that has ended leaves its group a moment later. */
const REMOVE_TRIES = 50;

/**
 * Makes a group that may use so many cores.
 * @throws {Error} that says why this machine lets none be made.
 */
export function makeCpuShare(name: string, cores: number): CpuShare {
  const quota = String(Math.round(cores * PERIOD_US));
  if (/\bcpu\b/.test(textOf(join(V2, 'cgroup.controllers')))) {
    writeFileSync(join(V2, 'cgroup.subtree_control'), '+cpu');
    return make(join(V2, name), [['cpu.max', `${quota} ${PERIOD_US}`]], 'throttled_usec', 1e6);
  }
  const v1 = cpuHierarchy(textOf('/proc/mounts'));
  if (v1 === undefined) throw new Error('this machine shows no CPU control groups, neither version 1 nor 2');
  const limits = [
    ['cpu.cfs_period_us', String(PERIOD_US)],
    ['cpu.cfs_quota_us', quota],
  ] as const;
  return make(join(v1, name), limits, 'throttled_time', 1e9);
}

/** Where version 1 of the groups has its CPU controller, by the table of mounts. */
export function cpuHierarchy(mounts: string): string | undefined {
  const rows = mounts.split('\n').map((line) => line.split(' '));
  return rows.find(([, , kind, options]) => kind === 'cgroup' && options?.split(',').includes('cpu'))?.[1];
}

function make(
  dir: string,
  limits: readonly (readonly [file: string, value: string])[],
  heldBack: string,
  unitsPerSecond: number,
): CpuShare {
  mkdirSync(dir);
  for (const [file, value] of limits) writeFileSync(join(dir, file), value);
  return {
    // The shell enters the group itself, then becomes the command.
    enter: ['sh', '-c', `echo $$ > ${dir}/cgroup.procs && exec "$@"`, 'sh'],
    heldBackS() {
      const line = new RegExp(`^${heldBack} (\\d+)$`, 'm').exec(textOf(join(dir, 'cpu.stat')));
      return Number(line?.[1] ?? 0) / unitsPerSecond;
    },
    async remove() {
      for (let tries = 1; ; tries++) {
        try {
          return rmdirSync(dir);
        } catch (error) {
          if (tries === REMOVE_TRIES) throw error;
          await sleep(100);
        }
      }
    },
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
