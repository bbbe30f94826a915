// What PM2 runs for each role, and how long it waits for what. Pure: settings in, descriptions out.

import type { LoadedSettings } from '../config/load.ts';

/** What a machine does: everything, only the front, or only the drawing. */
export const roles = ['all', 'balancer', 'node'] as const;
export type Role = (typeof roles)[number];

/** The names under which PM2 knows our processes. */
export type AppName = 'balancer' | 'worker' | 'agent';

/** One app as PM2's ecosystem file describes it. */
export interface App {
  readonly name: AppName;
  readonly script: string;
  readonly cwd: string;
  readonly exec_mode: 'cluster' | 'fork';
  readonly instances: number;
  readonly wait_ready: boolean;
  /** Flags of Node itself. */
  readonly node_args?: readonly string[];
  readonly listen_timeout: number;
  readonly kill_timeout: number;
  readonly exp_backoff_restart_delay: number;
  readonly max_restarts: number;
  readonly merge_logs: boolean;
  readonly out_file: string;
  readonly error_file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly pmx: boolean;
  readonly automation: boolean;
  readonly vizion: boolean;
  readonly treekill: boolean;
  readonly disable_source_map_support: boolean;
}

/** Where things lie on this machine. */
export interface Places {
  /** The package, by the path that an operator uses: a link to the current release stays a link. */
  readonly root: string;
  /** Where relative folders of the settings start. */
  readonly cwd: string;
  /** Cores that this machine may use, or where models.execution_providers names them first, other devices (usableSlots). */
  readonly cores: number;
}

/**
 * When this runs out PM2 ends the old worker even if the new one never got ready, so it lies far above any loading
 * and warming up.
 */
const LISTEN_TIMEOUT_MS = 120_000;
/** What a leaving process needs beside its running work: being seen, closing sockets, its last log line. */
const FAREWELL_MS = 10_000;
/** The first pause before a crashed process is started again; PM2 lets it grow to 15 s. */
const BACKOFF_MS = 100;
/** For ever: a node that heals after an hour of crashes is worth more than one that gave up after a quarter minute. */
const RESTARTS = 1_000_000_000;

/** Variables that must stand in the environment before a process begins: {@link earlyEnv} without any setting. */
export const EARLY_ENV = {
  /** glibc gives every thread an arena of its own and hardly ever returns one; two keep a worker's memory flat. */
  MALLOC_ARENA_MAX: '2',
  /** Tensors come and go in megabytes; huge pages halve the cost of taking them anew (AnimeGANv3 tiny at 1024 px). */
  GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
  /** Decoding, encoding and files share this pool; a worker has one core. */
  UV_THREADPOOL_SIZE: '4',
} as const;

/** Variables that must stand in the environment before a process begins; PM2 itself has to be started with them. */
export function earlyEnv({ worker }: Pick<LoadedSettings, 'worker'>): Record<keyof typeof EARLY_ENV, string> {
  if (worker.release_from === 0) return EARLY_ENV;
  // Without a fixed threshold glibc raises its own to 32 MiB, and layers below that leave holes behind (docs/models.md, Memory).
  const threshold = `glibc.malloc.mmap_threshold=${worker.release_from}`;
  return { ...EARLY_ENV, GLIBC_TUNABLES: `${EARLY_ENV.GLIBC_TUNABLES}:${threshold}` };
}

/** The home that PM2 has for this installation alone, so that a user's other apps are not touched. */
export const pm2HomeOf = (settings: { readonly data_dir: string }) => `${settings.data_dir}/pm2`;

/** How many workers a machine runs. */
export const workerCount = (settings: LoadedSettings, slots: number) =>
  settings.worker.count === 'auto' ? slots : settings.worker.count;

/** How many workers a machine may come to run: those of the settings, or what scaling may make of them. */
export const mostWorkers = ({ worker }: Pick<LoadedSettings, 'worker'>, cores: number) =>
  Math.max(
    worker.count === 'auto' ? cores : worker.count,
    worker.scale.max === 'auto' ? cores : worker.scale.max,
  );

/**
 * The apps of a role, in the order in which PM2 starts them. Workers come before their agent since loading a model
 * takes longest; each repeats its announcement until the agent is there.
 */
export function appsOf(settings: LoadedSettings, role: Role, places: Places): App[] {
  const { deadline } = settings.balancer;
  const app = (
    name: AppName,
    script: string,
    traits: Pick<App, 'exec_mode' | 'instances' | 'wait_ready' | 'kill_timeout' | 'node_args'>,
  ): App => ({
    name,
    script: `${places.root}/dist/${script}`,
    cwd: places.cwd,
    ...traits,
    listen_timeout: LISTEN_TIMEOUT_MS,
    exp_backoff_restart_delay: BACKOFF_MS,
    max_restarts: RESTARTS,
    merge_logs: true,
    out_file: `${pm2HomeOf(settings)}/logs/${name}.log`,
    error_file: `${pm2HomeOf(settings)}/logs/${name}.log`,
    env: {
      NODE_ENV: 'production',
      ...earlyEnv(settings),
      ...(settings.source === undefined ? {} : { TOONFLEET_CONFIG: settings.source }),
    },
    // PM2's own instruments and its git watcher: not ours, not needed, not free.
    pmx: false,
    automation: false,
    vizion: false,
    // Our processes have no children; without this PM2 calls `ps`, which a slim machine may lack.
    treekill: false,
    disable_source_map_support: true,
  });
  // One balancer in cluster mode: `pm2 reload balancer` then holds old and new side by side on the same port.
  const balancer = app('balancer', 'balancer/main.js', {
    exec_mode: 'cluster',
    instances: 1,
    wait_ready: true,
    kill_timeout: deadline + settings.balancer.drain_grace + FAREWELL_MS,
  });
  const worker = app('worker', 'server/main.js', {
    exec_mode: 'cluster',
    instances: workerCount(settings, places.cores),
    wait_ready: true,
    kill_timeout: deadline + settings.worker.drain_grace + FAREWELL_MS,
    // A worker makes large buffers and few objects: a small nursery is swept in less time (measured: 115 instead of 121 ms
    // of CPU for a picture of AnimeGANv3 tiny at 512 px, everything included).
    node_args: ['--max-semi-space-size=4'],
  });
  const agent = app('agent', 'ops/agent/main.js', {
    exec_mode: 'fork',
    instances: 1,
    // It says "ready" too, but nobody has to wait for that.
    wait_ready: false,
    kill_timeout: FAREWELL_MS + 5_000,
  });
  switch (role) {
    case 'all':
      return [balancer, worker, agent];
    case 'balancer':
      return [balancer];
    case 'node':
      return [worker, agent];
  }
}

/** Names that would have PM2 report to its makers' service, or take itself for part of another PM2. */
const NOT_FOR_PM2 =
  /^(PM2_|KEYMETRICS_|pm_|SECRET_KEY$|PUBLIC_KEY$|NODE_APP_INSTANCE$|NODE_CHANNEL_FD$|NODE_UNIQUE_ID$|npm_)/;

/**
 * The environment in which PM2 is run: ours alone, quiet, and with what processes need from their first moment (`early`, for
 * the PM2 that starts them; who only gives it commands needs none).
 */
export function pm2Environment(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
  early: Readonly<Record<string, string>> = EARLY_ENV,
): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !NOT_FOR_PM2.test(entry[0]),
  );
  return {
    ...Object.fromEntries(kept),
    ...early,
    PM2_HOME: home,
    PM2_DISABLE_VERSION_CHECK: 'true',
    PM2_DISCRETE_MODE: 'true',
    PM2_NO_INTERACTION: 'true',
    // Starting and stopping at once what can be; a reload is told to go one by one.
    PM2_CONCURRENT_ACTIONS: '300',
  };
}
