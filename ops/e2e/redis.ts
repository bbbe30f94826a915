// A real redis-server for a test: on a free port, with nothing on disk, ended by its pid.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { freePort } from '../ports.ts';
import { until } from './cluster.ts';

/** Why tests of Redis are skipped here; false where they run. */
export const NO_REDIS: string | false =
  spawnSync('redis-server', ['--version']).status === 0 ? false : 'redis-server is not installed here';

/** A running Redis that a test may kill and start again. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** SIGKILL, and waits for the end. */
  readonly kill: () => Promise<void>;
  /** On the same port, with nothing in it. */
  readonly start: () => Promise<void>;
}

/** Starts a Redis that ends with its test. */
export async function startRedis(context: TestContext, ...args: string[]): Promise<RedisServer> {
  const port = await freePort('127.0.0.1');
  let child: ChildProcess | undefined;
  let output = '';
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const start = async () => {
    output = '';
    const own = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    child = spawn('redis-server', [...own, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    await until(
      () => output.includes('Ready to accept connections'),
      20_000,
      () => `Redis did not start:\n${output}`,
    );
  };
  context.after(kill);
  await start();
  return { port, url: `redis://127.0.0.1:${port}`, kill, start };
}
