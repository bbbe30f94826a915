// A toonfleet for the time of a test or a bench: started as a person would start it, in a folder and on ports of its own,
// in a process group of its own. Knows the command line and its words; ends only what it started.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { INTERNAL_PATHS, type NodeRoster, nodeRosterSchema } from '../../config/contract.ts';
import { PACKAGE_ROOT } from './package.ts';

const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');
/** A busy machine takes its time; the promise of ten seconds is for a quiet one, and is a test of its own. */
export const READY_WITHIN_MS = 60_000;

/** Where a trial lives. */
export interface TrialPlace {
  /** The folder that it is started in. */
  readonly cwd: string;
  /** PM2's home. */
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly adminUrl: string;
  readonly agentUrl: string;
  readonly sharedUrl: string;
}

/** A command that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** A `toonfleet start` that goes on until it is stopped. */
export interface Trial extends TrialPlace {
  /** The command itself. */
  readonly pid: number;
  /** Ms until it said that it was ready; rejects when it ended before, or took too long. */
  readonly ready: Promise<number>;
  /** All that it has printed. */
  readonly output: () => string;
  readonly roster: () => Promise<NodeRoster>;
  /** Sends a signal to the command's group, as a terminal does, and waits for its end. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>;
}

/** Free ports and the settings that name them, for a start in a folder. `nodeHost` is what agent and workers bind to. */
export async function trialPlace(
  cwd: string,
  env: Readonly<Record<string, string>> = {},
  nodeHost = '127.0.0.1',
): Promise<TrialPlace> {
  const [front, admin, shared, agent] = await freePorts(4);
  // Below the range from which the kernel takes ports for outgoing connections.
  const first = 10_000 + Math.floor(Math.random() * 200) * 100;
  return {
    cwd,
    home: join(cwd, 'data/pm2'),
    env: {
      ...process.env,
      TOONFLEET_DATA_DIR: join(cwd, 'data'),
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(front),
      TOONFLEET_BALANCER__ADMIN_PORT: String(admin),
      TOONFLEET_WORKER__HOST: nodeHost,
      TOONFLEET_WORKER__COUNT: '2',
      TOONFLEET_WORKER__SHARED_PORT: String(shared),
      TOONFLEET_WORKER__PORT_FIRST: String(first),
      TOONFLEET_WORKER__PORT_LAST: String(first + 99),
      TOONFLEET_AGENT__HOST: nodeHost,
      TOONFLEET_AGENT__PORT: String(agent),
      ...env,
    },
    url: `http://127.0.0.1:${front}`,
    adminUrl: `http://127.0.0.1:${admin}`,
    agentUrl: `http://${nodeHost}:${agent}`,
    sharedUrl: `http://${nodeHost}:${shared}`,
  };
}

/** How a trial is started. */
export interface TrialHow {
  /** Instead of `node ops/toonfleet.mjs start`. */
  readonly command?: readonly string[];
  /** Run in front of the command, such as a program that enters a network namespace. */
  readonly through?: readonly string[];
  readonly args?: readonly string[];
}

/** Starts `toonfleet start` and gives it back at once; {@link Trial.ready} tells when it can be used. */
export function startTrial(place: TrialPlace, how: TrialHow = {}): Trial {
  const words = [
    ...(how.through ?? []),
    ...(how.command ?? [process.execPath, CLI, 'start']),
    ...(how.args ?? []),
  ];
  const [program = '', ...args] = words;
  const began = performance.now();
  const child = spawn(program, args, {
    cwd: place.cwd,
    env: place.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const ended = ending(child, output);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} could not be started`);
  // Who started it may end in the middle; what it started must not stay.
  const endGroup = () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGINT');
  };
  process.once('exit', endGroup);
  child.once('close', () => process.off('exit', endGroup));
  const ready = Promise.race([
    until(
      () => /is ready after|is up after/.test(output()),
      READY_WITHIN_MS,
      () => `not ready:\n${output()}`,
    ),
    ended.then(({ code }) => {
      throw new Error(`ended with ${code} before it was ready:\n${output()}`);
    }),
  ]).then(() => performance.now() - began);
  // Who stops it before it is ready does not ask whether it became so.
  ready.catch(() => {});
  return {
    ...place,
    pid,
    ready,
    output,
    roster: async () =>
      nodeRosterSchema.parse(await (await fetch(place.agentUrl + INTERNAL_PATHS.node)).json()),
    stop: async (signal = 'SIGINT') => {
      if (child.exitCode === null && child.signalCode === null) process.kill(-pid, signal);
      return ended;
    },
  };
}

/** Runs a `toonfleet` command to its end, with the settings of a place. */
export async function toonfleet(place: Pick<TrialPlace, 'cwd' | 'env'>, ...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: place.cwd,
    env: place.env,
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

/** Ports of loopback that are free now, no two alike. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
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
