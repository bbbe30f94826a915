// Virtual workers in a process of their own, so that they cost the bench's process nothing and can be killed as one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ordinarily } from '../priority.ts';

/** The virtual worker as this file itself runs: compiled, or as it was written. */
const WORKER = join(import.meta.dirname, `../virtual-worker${extname(import.meta.filename)}`);

/** What is started. */
export interface VirtualFleetOptions {
  readonly workers: number;
  readonly nodes: number;
  /** As `--service` reads it. */
  readonly service: string;
  readonly seed: number;
}

/** A process of virtual workers. */
export interface VirtualFleet {
  /** One port a worker. */
  readonly urls: readonly string[];
  /** One port a node, which reaches any of its workers. */
  readonly sharedUrls: readonly string[];
  /** Kills all at once, as a machine dies. */
  kill(): void;
}

/** Starts one-slot virtual workers on loopback. */
export async function startVirtualFleet(options: VirtualFleetOptions): Promise<VirtualFleet> {
  const { workers, nodes, service, seed } = options;
  const numbers = { workers, nodes, seed };
  const { program, args } = ordinarily([
    process.execPath,
    ...process.execArgv,
    WORKER,
    '--shared',
    '--service',
    service,
    ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'exit').then(() => {
    throw new Error('the virtual workers ended before they listened');
  });
  ended.catch(() => {});
  const read = async () => {
    const line = await Promise.race([lines.next(), ended]);
    return (JSON.parse(String(line.value)) as { url: string }[]).map(({ url }) => url);
  };
  const urls = await read();
  return { urls, sharedUrls: await read(), kill };
}
