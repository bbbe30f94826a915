// Runs a `toonfleet` command in a process of its own: with the rights, limits and environment that the service has, and
// without its room in the agent.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../process/package.ts';

/** Digests of many models on a busy machine. */
const PATIENCE_MS = 60_000;
const OUTPUT_CHARS = 1024 * 1024;

/** Runs it to its end, or for a minute; the answer is its exit code, if it had one, and what it wrote to stdout. */
export function ownCommand(
  args: readonly string[],
  configFile: string | undefined,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const words = [...args, ...(configFile === undefined ? [] : ['--config', configFile])];
  const child = spawn(process.execPath, [join(PACKAGE_ROOT, 'ops/toonfleet.mjs'), ...words], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (output.length > OUTPUT_CHARS) child.kill('SIGKILL');
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
