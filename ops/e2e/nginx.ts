// The system's nginx for a test: with a folder and a port of its own, ended with its test.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from './cluster.ts';

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
