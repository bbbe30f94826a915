// The system's nginx for a test: with a folder and a port of its own, ended with its test; alone or before two nodes.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from '../ports.ts';
import { type Cluster, site, startCluster, toonfleet, until } from './cluster.ts';

/** Why tests with nginx skip, or false. */
export const skipWithoutNginx =
  spawnSync('nginx', ['-v']).status !== 0 && 'nginx is not installed: see .ci/install-system';

/** A folder that nginx's own user can enter, taken away after the test. */
export function nginxFolder(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'nginx-'));
  chmodSync(dir, 0o755);
  context.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A running nginx. */
export interface Nginx {
  readonly pid: number;
  /** The lines of its access log so far. */
  readonly lines: () => Record<string, unknown>[];
}

/** Has a whole configuration judged by `nginx -t`, starts it, and waits until its `/live` answers. */
export async function startNginx(
  context: TestContext,
  { dir, config, url }: { dir: string; config: string; url: string },
): Promise<Nginx> {
  const errors = join(dir, 'early-error.log');
  const judged = spawnSync('nginx', ['-t', '-c', config, '-e', errors], { encoding: 'utf8' });
  if (judged.status !== 0) throw new Error(`nginx -t: ${judged.stderr}`);
  const child = spawn('nginx', ['-c', config, '-e', errors, '-g', 'daemon off;'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  const { pid } = child;
  if (pid === undefined) throw new Error('nginx could not be started');
  context.after(async () => {
    const group = (signal: NodeJS.Signals) => {
      try {
        process.kill(-pid, signal);
      } catch {
        // All of them have ended.
      }
    };
    const hard = setTimeout(() => group('SIGKILL'), 5_000);
    child.kill('SIGTERM');
    await exited;
    clearTimeout(hard);
    group('SIGKILL');
  });
  await until(
    async () => (await fetch(`${url}/live`).catch(() => undefined))?.ok ?? false,
    10_000,
    () => `nginx does not answer at ${url}:\n${readFileSync(join(dir, 'toonfleet-error.log'), 'utf8')}`,
  );
  return {
    pid,
    lines: () =>
      readFileSync(join(dir, 'toonfleet-access.log'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

/** Two nodes that differ in nothing but their address and how many workers they have. */
export async function startNodes(context: TestContext): Promise<[Cluster, Cluster]> {
  const first = await site(context);
  const second = await site(context, {
    TOONFLEET_NODE__NAME: 'second-node',
    TOONFLEET_WORKER__HOST: '127.0.0.2',
    TOONFLEET_WORKER__COUNT: '1',
    TOONFLEET_WORKER__SHARED_PORT: new URL(first.sharedUrl).port,
    TOONFLEET_AGENT__HOST: '127.0.0.2',
    TOONFLEET_AGENT__PORT: new URL(first.agentUrl).port,
  });
  return [await startCluster(first), await startCluster(second, { args: ['--role', 'node'] })];
}

/** nginx before both nodes: rendered from the settings of a front, as an operator would, and started. */
export async function nginxBefore(context: TestContext, cluster: Cluster) {
  const dir = nginxFolder(context);
  const port = await freePort('127.0.0.1');
  const config = join(dir, 'nginx.conf');
  const { port: agentPort } = new URL(cluster.agentUrl);
  const env = {
    ...cluster.env,
    TOONFLEET_BALANCER__PORT: String(port),
    TOONFLEET_NODES: JSON.stringify(
      ['127.0.0.1', '127.0.0.2'].map((host) => ({ agent: `http://${host}:${agentPort}` })),
    ),
    TOONFLEET_NGINX__DIR: dir,
    TOONFLEET_NGINX__LOG_DIR: dir,
  };
  const { code, output } = await toonfleet(
    { ...cluster, env },
    'nginx',
    'render',
    '--whole',
    '--out',
    config,
  );
  assert.equal(code, 0, output);
  assert.match(readFileSync(config, 'utf8'), /127\.0\.0\.1:\d+ weight=2 [\s\S]*127\.0\.0\.2:\d+ weight=1 /);
  const url = `http://127.0.0.1:${port}`;
  return { url, nginx: await startNginx(context, { dir, config, url }) };
}
