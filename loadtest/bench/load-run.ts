// One `toonfleet loadtest` as an operator types it, in a process of its own, for benches that are made of such runs.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';
import { type Run, runSchema } from '../result.ts';

const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');

/** What surrounds a run. */
export interface LoadRun {
  /** The settings of the fleet under test; also where ceilings are kept. */
  readonly env: NodeJS.ProcessEnv;
  /** Where the report goes; made by this run. */
  readonly json: string;
  readonly html?: string;
  /** Then it is interrupted, and what it has is reported, ms. */
  readonly limitMs: number;
}

/**
 * Runs a plan to its end.
 * @throws {Error} with what it said, when there is no report.
 */
export async function loadRun(
  url: string,
  args: readonly string[],
  { env, json, html, limitMs }: LoadRun,
): Promise<Run> {
  const reports = ['--json', json, ...(html === undefined ? [] : ['--html', html])];
  const child = spawn(process.execPath, [CLI, 'loadtest', url, ...args, ...reports], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const timer = setTimeout(() => child.kill('SIGINT'), limitMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  if (!existsSync(json)) throw new Error(`the load test ended with ${code} and no report:\n${output}`);
  return runSchema.parse(JSON.parse(readFileSync(json, 'utf8')));
}
