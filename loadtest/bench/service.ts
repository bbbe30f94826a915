// Starts the whole product as an operator would, in a folder and on ports of its own, for the time of a bench.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { INTERNAL_PATHS, nodeRosterSchema, workerReportSchema } from '../../config/contract.ts';

/** A running balancer, agent and workers. */
export interface Service {
  readonly url: string;
  readonly workers: number;
  /** Resident bytes of each worker. */
  workerMemory(): Promise<number[]>;
  stop(): Promise<void>;
}

const CLI = resolve('ops/toonfleet.mjs');

/** Starts the service with the embedded styles, and with `model` added as the style `bench` when one is given. */
export async function startService(
  dataDir: string,
  model: string | undefined,
  workers = availableParallelism(),
): Promise<Service> {
  const [port, admin, agent, shared] = await freePorts(4);
  const first = portBlock(50);
  const env = {
    ...process.env,
    TOONFLEET_DATA_DIR: join(dataDir, 'data'),
    TOONFLEET_LOG_LEVEL: 'warn',
    TOONFLEET_BALANCER__HOST: '127.0.0.1',
    TOONFLEET_BALANCER__PORT: String(port),
    TOONFLEET_BALANCER__ADMIN_PORT: String(admin),
    TOONFLEET_AGENT__PORT: String(agent),
    TOONFLEET_WORKER__COUNT: String(workers),
    TOONFLEET_WORKER__SHARED_PORT: String(shared),
    TOONFLEET_WORKER__PORT_FIRST: String(first),
    TOONFLEET_WORKER__PORT_LAST: String(first + 49),
  };
  if (model !== undefined) {
    const add = [
      'models',
      'add',
      model,
      '--name',
      'bench',
      '--style',
      'bench:Bench',
      '--licence',
      'for this bench only',
      '--accept-licence',
    ];
    execFileSync(process.execPath, [CLI, ...add, '--multiple', '16', '--min-side', '256'], {
      env,
      cwd: dataDir,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  const child = spawn(process.execPath, [CLI, 'start'], {
    env,
    cwd: dataDir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await ready(child);
  const roster = async () =>
    nodeRosterSchema.parse(await (await fetch(`http://127.0.0.1:${agent}${INTERNAL_PATHS.node}`)).json());
  while ((await roster()).workers.filter(({ state }) => state === 'ready').length < workers) await wait(100);
  return {
    url: `http://127.0.0.1:${port}`,
    workers,
    async workerMemory() {
      const reports = (await roster()).workers.map(async ({ url }) => {
        const answer = await fetch(`${url}${INTERNAL_PATHS.workerReport}`);
        return workerReportSchema.parse(await answer.json()).rss_bytes;
      });
      return Promise.all(reports);
    },
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGINT');
      await ended;
    },
  };
}

/** Resolves when the start says so, rejects when it ends instead. */
async function ready(child: ChildProcess): Promise<void> {
  if (!child.stdout) throw new Error('the service has no stdout');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (/is ready/.test(line)) {
      child.stdout.resume();
      return;
    }
  }
  throw new Error(`the service did not start:\n${lines.join('\n')}`);
}

async function freePorts(count: number): Promise<number[]> {
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

/** The first of so many ports below the ephemeral range; workers pass over a taken one by themselves. */
function portBlock(length: number): number {
  return 20_000 + Math.floor(Math.random() * (12_000 / length)) * length;
}
