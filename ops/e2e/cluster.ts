// Starts the real thing for a test, as a person would: in a folder and on ports of its own, in a process group of its
// own. Ends only what it started.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { INTERNAL_PATHS, type NodeRoster, nodeRosterSchema } from '../../config/contract.ts';
import { identify, isAlive } from '../pm2.ts';
import { freePort } from '../ports.ts';
import { PACKAGE_ROOT } from '../process/package.ts';

const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');
/** A busy machine takes its time; the promise of ten seconds is for a quiet one, and is a test of its own. */
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 30_000;

/** Where a cluster lives. */
export interface Site {
  /** The folder that it is started in. */
  readonly cwd: string;
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly adminUrl: string;
  readonly agentUrl: string;
  readonly sharedUrl: string;
  /** What has to end before the folder can go. */
  readonly closers: (() => Promise<unknown>)[];
}

/** A command that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** A running `toonfleet start`. */
export interface Cluster extends Site {
  /** Time from the command to its word that it is ready, ms. */
  readonly readyMs: number;
  /** All that it has printed. */
  readonly output: () => string;
  readonly roster: () => Promise<NodeRoster>;
  /** Every process: the command, PM2 and the apps. */
  readonly pids: () => number[];
  /** Sends a signal to the command's group, as a terminal does, and waits for its end. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>;
  /** The command itself. */
  readonly pid: number;
}

/** A fresh folder with free ports; it is taken away after the test. */
export async function site(context: TestContext, env: Record<string, string> = {}): Promise<Site> {
  const cwd = mkdtempSync(join(tmpdir(), 'fleet-'));
  const closers: Site['closers'] = [];
  context.after(async () => {
    for (const close of closers) await close();
    rmSync(cwd, { recursive: true, force: true });
  });
  const [front = 0, admin = 0, shared = 0, agent = 0] = await freePorts(4);
  // Below the range from which the kernel takes ports for outgoing connections.
  const first = 10_000 + Math.floor(Math.random() * 200) * 100;
  return {
    cwd,
    closers,
    home: join(cwd, 'data/pm2'),
    env: {
      ...process.env,
      TOONFLEET_DATA_DIR: join(cwd, 'data'),
      TOONFLEET_NODE__NAME: 'test-node',
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(front),
      TOONFLEET_BALANCER__ADMIN_PORT: String(admin),
      TOONFLEET_WORKER__COUNT: '2',
      TOONFLEET_WORKER__SHARED_PORT: String(shared),
      TOONFLEET_WORKER__PORT_FIRST: String(first),
      TOONFLEET_WORKER__PORT_LAST: String(first + 99),
      TOONFLEET_AGENT__PORT: String(agent),
      ...env,
    },
    url: `http://127.0.0.1:${front}`,
    adminUrl: `http://127.0.0.1:${admin}`,
    agentUrl: `http://127.0.0.1:${agent}`,
    sharedUrl: `http://127.0.0.1:${shared}`,
  };
}

/** How a cluster is started. */
export interface StartHow {
  /** Through npm, as the README says, instead of directly. */
  readonly npm?: boolean;
  readonly args?: readonly string[];
}

/** Starts a cluster and waits until it says that it is ready. */
export async function startCluster(at: Site, how: StartHow = {}): Promise<Cluster> {
  const began = performance.now();
  const [command, args] = how.npm
    ? ['npm', ['start', '--silent', '--prefix', PACKAGE_ROOT]]
    : [process.execPath, [CLI, 'start']];
  const child = spawn(command, [...args, ...(how.args ?? [])], {
    cwd: at.cwd,
    env: at.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const ended = ending(child, output);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} could not be started`);
  let seen: number[] = [];
  const pids = () => {
    seen = [...new Set([...seen, pid, ...pidsOf(at.home)])];
    return seen;
  };
  const stop = async (signal: NodeJS.Signals = 'SIGINT') => {
    pids();
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, signal);
    return ended;
  };
  at.closers.push(async () => {
    await Promise.race([stop(), wait(STOP_WITHIN_MS, undefined, { ref: false })]);
    for (const left of pids()) if (isAlive(identify(left))) tryKill(left);
  });

  await Promise.race([
    until(
      () => /is ready after|is up after/.test(output()),
      READY_WITHIN_MS,
      () => `not ready:\n${output()}`,
    ),
    ended.then(({ code }) => {
      throw new Error(`ended with ${code} before it was ready:\n${output()}`);
    }),
  ]);
  pids();
  return {
    ...at,
    pid,
    readyMs: performance.now() - began,
    output,
    roster: async () => nodeRosterSchema.parse(await (await fetch(at.agentUrl + INTERNAL_PATHS.node)).json()),
    pids,
    stop,
  };
}

/** Runs a `toonfleet` command to its end. */
export async function toonfleet(at: Site, ...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: at.cwd,
    env: at.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return ending(child, collect(child));
}

/** Waits until something is so. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  withinMs: number,
  otherwise: () => string,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(otherwise());
    await wait(20);
  }
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

function collect(child: ChildProcess): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  return () => text;
}

function ending(child: ChildProcess, output: () => string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output: output() }));
  });
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

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort('127.0.0.1'));
  return [...ports];
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It went by itself.
  }
}
