// The real thing for a test: a trial (ops/process/trial.ts) that is taken away after its test, with all processes that it
// had, however it ended.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { INTERNAL_PATHS, workerReportSchema } from '../../config/contract.ts';
import { identify, isAlive } from '../pm2.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import {
  READY_WITHIN_MS,
  startTrial,
  type Trial,
  type TrialPlace,
  trialPlace,
  until,
} from '../process/trial.ts';

export { type Ended, toonfleet, until } from '../process/trial.ts';

const STOP_WITHIN_MS = 30_000;

/** Where a cluster lives. */
export interface Site extends TrialPlace {
  /** What has to end before the folder can go. */
  readonly closers: (() => Promise<unknown>)[];
}

/** A running `toonfleet start`. */
export interface Cluster extends Site, Omit<Trial, 'ready'> {
  /** Time from the command to its word that it is ready, ms. */
  readonly readyMs: number;
  /** Every process: the command, PM2 and the apps. */
  readonly pids: () => number[];
}

/** A fresh folder with free ports; it is taken away after the test. */
export async function site(
  context: TestContext,
  env: Record<string, string> = {},
  nodeHost?: string,
): Promise<Site> {
  const cwd = mkdtempSync(join(tmpdir(), 'fleet-'));
  const closers: Site['closers'] = [];
  context.after(async () => {
    for (const close of closers) await close();
    rmSync(cwd, { recursive: true, force: true });
  });
  return { ...(await trialPlace(cwd, { TOONFLEET_NODE__NAME: 'test-node', ...env }, nodeHost)), closers };
}

/** How a cluster is started. */
export interface StartHow {
  /** Through npm, as the README says, instead of directly. */
  readonly npm?: boolean;
  /** Another toonfleet's words, such as those of an unpacked release. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  /** Run in front of the command, such as a program that enters a network namespace. */
  readonly through?: readonly string[];
}

/** Starts a cluster and waits until it says that it is ready. */
export async function startCluster(at: Site, how: StartHow = {}): Promise<Cluster> {
  const trial = startTrial(at, {
    ...(how.npm ? { command: ['npm', 'start', '--silent', '--prefix', PACKAGE_ROOT] } : {}),
    ...(how.command ? { command: how.command } : {}),
    args: how.args ?? [],
    through: how.through ?? [],
  });
  let seen: number[] = [];
  const pids = () => {
    seen = [...new Set([...seen, trial.pid, ...pidsOf(at.home)])];
    return seen;
  };
  const stop: Trial['stop'] = (signal) => {
    pids();
    return trial.stop(signal);
  };
  at.closers.push(async () => {
    await Promise.race([stop(), wait(STOP_WITHIN_MS, undefined, { ref: false })]);
    for (const left of pids()) if (isAlive(identify(left))) tryKill(left);
  });
  const readyMs = await trial.ready;
  pids();
  return { ...trial, closers: at.closers, readyMs, pids, stop };
}

/** Waits until so many workers are ready and the balancer uses them, and gives their rows of the roster. */
export async function untilWorkers(cluster: Cluster, count: number, fits = (_pid: number) => true) {
  let roster = await cluster.roster();
  let used: string[] = [];
  const ready = () =>
    roster.workers.filter(
      ({ state, pid, url }) =>
        state === 'ready' && fits(pid) && used.some((upstream) => upstream.startsWith(url)),
    );
  await until(
    async () => {
      roster = await cluster.roster();
      const metrics = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
      used = [...metrics.matchAll(/^toonfleet_upstream_state\{upstream="([^"]+)".*state="up".*\} 1$/gm)].map(
        ([, upstream]) => upstream ?? '',
      );
      return ready().length >= count;
    },
    READY_WITHIN_MS,
    () => `${ready().length} of ${count} workers:\n${JSON.stringify(roster)}\n${used}\n${cluster.output()}`,
  );
  return ready();
}

/** The process of the worker that is drawing, as soon as one is. */
export async function drawingWorker(workers: readonly { readonly url: string }[]): Promise<number> {
  let drawing: number | undefined;
  await until(
    async () => {
      const reports = await Promise.all(
        workers.map(async ({ url }) =>
          workerReportSchema.parse(await (await fetch(url + INTERNAL_PATHS.workerReport)).json()),
        ),
      );
      drawing = reports.find(({ busy }) => busy > 0)?.pid;
      return drawing !== undefined;
    },
    10_000,
    () => 'no worker ever drew',
  );
  return drawing ?? 0;
}

/** What PM2 wrote down: itself and its apps. */
function pidsOf(home: string): number[] {
  const read = (path: string) => {
    try {
      return Number(readFileSync(path, 'utf8'));
    } catch {
      return Number.NaN;
    }
  };
  let files: string[] = [];
  try {
    files = readdirSync(join(home, 'pids')).map((name) => join(home, 'pids', name));
  } catch {
    // PM2 has not made it yet, or has taken it away.
  }
  return [join(home, 'pm2.pid'), ...files].map(read).filter((pid) => Number.isInteger(pid) && pid > 0);
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It went by itself.
  }
}
