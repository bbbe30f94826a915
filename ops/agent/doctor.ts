// Has `toonfleet doctor` look at this machine, in a process of its own: with the rights, limits and environment that the
// service has, and without a room of its own in the agent. Knows nothing of what is checked.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ToonError } from '../../config/errors.ts';
import { PACKAGE_ROOT } from '../process/package.ts';

/** Digests of many models on a busy machine. */
const PATIENCE_MS = 60_000;
const REPORT_BYTES = 1024 * 1024;

/** Asks for the report of this machine; who asks while one is being made gets that one. */
export function createDoctor(configFile: string | undefined): () => Promise<unknown> {
  let running: Promise<unknown> | undefined;
  return () => {
    running ??= examine(configFile).finally(() => {
      running = undefined;
    });
    return running;
  };
}

function examine(configFile: string | undefined): Promise<unknown> {
  const args = [join(PACKAGE_ROOT, 'ops/toonfleet.mjs'), 'doctor', '--json'];
  const child = spawn(process.execPath, configFile === undefined ? args : [...args, '--config', configFile], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.length > REPORT_BYTES) child.kill('SIGKILL');
    });
    child.once('error', reject);
    child.once('close', (code) => {
      try {
        resolve(JSON.parse(text));
      } catch (cause) {
        reject(
          new ToonError('internal_error', { detail: `doctor gave no report (exit code ${code})` }, { cause }),
        );
      }
    });
  });
}
