// Whether a machine is fit for its part: disk, memory, limits, Node, time zone, allocator. Pure: probe.ts looks.

import { bad, type Finding, ok, warn } from './finding.ts';

const MB = 1e6;

/** A file system under one or more of our folders. */
export interface Volume {
  readonly folders: readonly string[];
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeInodes: number;
  /** 0 where the file system counts none. */
  readonly totalInodes: number;
}

/** Below this nothing can be relied on: no log, no state, no upload. */
const LEAST_FREE_BYTES = 200 * MB;

/** @param wantedBytes What the settings allow results and uploads in passing to take, at most. */
export function judgeVolume(volume: Volume, wantedBytes: number): Finding {
  const { folders, freeBytes, totalBytes, freeInodes, totalInodes } = volume;
  const where = folders.join(', ');
  const found = `${where}: ${size(freeBytes)} of ${size(totalBytes)} free`;
  const make =
    'make room: old logs (pm2/logs), old releases, stored results (results.ttl), or put data_dir on a larger disk';
  if (freeBytes < LEAST_FREE_BYTES || freeBytes < totalBytes * 0.02) return bad('disk', found, make);
  if (totalInodes > 0 && freeInodes < Math.max(1_000, totalInodes * 0.01))
    return bad(
      'disk',
      `${where}: ${freeInodes} of ${totalInodes} inodes free`,
      `${make}; count files with: df -i`,
    );
  if (totalInodes > 0 && freeInodes < totalInodes * 0.05)
    return warn(
      'disk',
      `${where}: ${freeInodes} of ${totalInodes} inodes free`,
      `${make}; count files with: df -i`,
    );
  if (freeBytes < totalBytes * 0.1) return warn('disk', found, make);
  if (freeBytes < wantedBytes)
    return warn(
      'disk',
      `${found}, and results and uploads may take ${size(wantedBytes)}`,
      'lower results.budget or balancer.spill_budget, or make room',
    );
  return ok('disk', found);
}

/** What one worker takes at 512 px with the embedded styles and a v3 model, MB: as the README promises. */
const WORKER_MB = 500;
/** Balancer, agent and PM2, MB. */
const OTHERS_MB = 400;

/** Memory, bytes. */
export interface Memory {
  /** What this machine or its control group may use. */
  readonly totalBytes: number;
  readonly availableBytes: number;
  readonly swapTotalBytes: number;
  readonly swapUsedBytes: number;
}

/** @param bufferBytes `balancer.buffer_budget` where a balancer runs, else 0. */
export function judgeMemory({ totalBytes }: Memory, workers: number, bufferBytes: number): Finding {
  const needed = (workers * WORKER_MB + OTHERS_MB) * MB;
  const found = `${size(totalBytes)} for ${count(workers, 'worker')}`;
  if (totalBytes < needed)
    return bad(
      'memory',
      `${found}, which need ${size(needed)}`,
      workers > 1
        ? 'set worker.count lower, or give the machine more memory'
        : 'give the machine more memory',
    );
  if (totalBytes < needed + bufferBytes)
    return warn(
      'memory',
      `${found}, and ${size(bufferBytes)} for uploads in passing do not fit beside them`,
      'set balancer.buffer_budget lower: what is beyond it goes to disk',
    );
  return ok('memory', found);
}

export function judgeSwap({ totalBytes, availableBytes, swapTotalBytes, swapUsedBytes }: Memory): Finding {
  if (swapTotalBytes === 0) return ok('swap', 'none');
  const found = `${size(swapUsedBytes)} of ${size(swapTotalBytes)} in use`;
  return swapUsedBytes > totalBytes * 0.1 && availableBytes < totalBytes * 0.2
    ? warn(
        'swap',
        found,
        'a worker that is swapped out takes seconds for a picture: fewer workers, or more memory',
      )
    : ok('swap', found);
}

/** The limits of one process. */
export interface Limits {
  readonly who: string;
  readonly files: number;
  readonly processes: number;
}

/** A front may have 2000 clients, each with a connection and perhaps a file. */
const FILES_OF_FRONT = 4_096;
const FILES_OF_NODE = 1_024;
/** A worker has a dozen threads, and every one of the user counts. */
const THREADS_PER_CORE = 64;

export function judgeLimits({ who, files, processes }: Limits, front: boolean, cores: number): Finding[] {
  const wanted = front ? FILES_OF_FRONT : FILES_OF_NODE;
  const threads = 256 + cores * THREADS_PER_CORE;
  return [
    files < wanted
      ? warn(
          'open files',
          `${who} may open ${files}`,
          `allow ${wanted}: LimitNOFILE= in the unit (toonfleet systemd render has it), or ulimit -n before the start`,
        )
      : ok('open files', `${who} may open ${files}`),
    processes < threads
      ? warn(
          'threads',
          `the user may have ${processes} processes and threads`,
          `allow ${threads}: LimitNPROC= in the unit, or ulimit -u`,
        )
      : ok(
          'threads',
          `the user may have ${Number.isFinite(processes) ? processes : 'any number of'} processes and threads`,
        ),
  ];
}

/** When each release line of Node gets its last repair (nodejs.org/en/about/previous-releases). */
const NODE_END: Readonly<Record<number, string>> = { 20: '2026-04-30', 22: '2027-04-30', 24: '2028-04-30' };

/** @param version As `process.versions.node` says it. */
export function judgeNode(version: string, now: number): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const get = 'install Node 24 LTS';
  if (major < 20 || (major === 20 && minor < 19))
    return bad('Node', `${version}; needed is 20.19 or newer`, get);
  const end = NODE_END[major];
  if (major % 2 === 1) return warn('Node', `${version}, a line without long support`, get);
  if (end !== undefined && now > Date.parse(end))
    return warn('Node', `${version}, whose line has had no repairs since ${end}`, get);
  return ok('Node', version);
}

/** @param wanted The environment's TZ. @param actual What Node made of it. */
export function judgeTimeZone(wanted: string | undefined, actual: string, known: boolean): Finding {
  if (wanted !== undefined && wanted !== '' && !known)
    return bad(
      'time zone',
      `TZ=${wanted}, which Node does not know: it goes by ${actual}`,
      'set such as TZ=Asia/Shanghai, or nothing',
    );
  return ok('time zone', actual);
}

/** What a running worker was started with, and on. */
export interface Allocator {
  /** Undefined on musl and elsewhere. */
  readonly glibc: string | undefined;
  /** Of the worker's environment; undefined where that cannot be read or nothing runs. */
  readonly environment: Readonly<Record<string, string>> | undefined;
  /** /sys/kernel/mm/transparent_hugepage/enabled. */
  readonly hugePages: string | undefined;
}

/** @param wanted The variables that a worker has to be started with. */
export function judgeAllocator(
  { glibc, environment, hugePages }: Allocator,
  wanted: Readonly<Record<string, string>>,
): Finding {
  if (glibc === undefined)
    return warn(
      'allocator',
      'no glibc here',
      'memory was only measured with glibc: watch that of the workers',
    );
  const missing = Object.entries(wanted).filter(
    ([name, value]) => environment && environment[name] !== value,
  );
  if (missing.length > 0)
    return warn(
      'allocator',
      `workers run without ${missing.map(([name, value]) => `${name}=${value}`).join(', ')}`,
      'start them with toonfleet start, its unit or ops/ecosystem.config.cjs, which set this before the process begins; else their memory grows',
    );
  if (hugePages?.includes('[never]'))
    return warn(
      'allocator',
      `glibc ${glibc}, huge pages are off`,
      'pictures of 1024 px take longer; echo madvise > /sys/kernel/mm/transparent_hugepage/enabled',
    );
  return ok('allocator', `glibc ${glibc}${environment ? ', set up as it should be' : ''}`);
}

/** How the logs are kept in bounds. */
export interface LogCare {
  /** `logs.turn_at`; 0 leaves it to logrotate. */
  readonly turnAtBytes: number;
  /** Whether logrotate is here and has been told of them. */
  readonly logrotate: boolean;
  readonly largestBytes: number;
}

/** A log of this size has been forgotten by whoever should turn it. */
const FORGOTTEN_BYTES = 2_000 * MB;

export function judgeLogs({ turnAtBytes, logrotate, largestBytes }: LogCare): Finding {
  const advice =
    'toonfleet systemd install sets logrotate up where it is installed; else let logs.turn_at be 64MiB';
  if (turnAtBytes === 0 && !logrotate)
    return bad('logs', 'nobody turns them: logs.turn_at is 0B, and logrotate is not set up for them', advice);
  if (largestBytes > FORGOTTEN_BYTES + turnAtBytes)
    return warn(
      'logs',
      `one of them has ${size(largestBytes)}`,
      `its rotation does not work: toonfleet logs reopen tells why; ${advice}`,
    );
  return ok(
    'logs',
    `turned by ${turnAtBytes === 0 ? 'logrotate' : 'the agent'}; the largest has ${size(largestBytes)}`,
  );
}

/** A folder that has to be written to. */
export interface WrittenFolder {
  readonly folder: string;
  /** What it is for. */
  readonly use: string;
  /** Why not; undefined when it can be. */
  readonly fault: string | undefined;
}

export function judgeFolder({ folder, use, fault }: WrittenFolder): Finding {
  return fault === undefined
    ? ok('folder', `${folder} can be written (${use})`)
    : bad(
        'folder',
        `${folder} cannot be written (${use}): ${fault}`,
        `give it to the user that runs toonfleet: chown, chmod u+rwx ${folder}`,
      );
}

const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? '' : 's'}`;

function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / MB)} MB`;
}
