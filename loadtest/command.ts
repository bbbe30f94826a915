// `toonfleet loadtest` and `toonfleet capacity` as commands: arguments in, exit code out.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSettings } from '../config/load.ts';
import { CEILINGS_DIR } from './capacity-command.ts';
import { readOptions, USAGE, UsageError } from './options.ts';
import { PicturesError } from './pictures.ts';
import { PreflightError } from './preflight.ts';
import { shellWords } from './report/words.ts';
import type { Run } from './result.ts';
import { defaultSlo, EXIT, runLoadTest } from './run.ts';

export { capacityCommand } from './capacity-command.ts';

/** Runs `toonfleet loadtest …`; the exit code tells the verdict. */
export async function loadtestCommand(args: string[]): Promise<number> {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE);
    return args.length === 0 ? EXIT.usage : 0;
  }
  const interrupt = new AbortController();
  const onSignal = () => {
    // The second Ctrl-C does not wait for a report.
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
    process.stderr.write('\nCtrl-C: ending with what there is (again to leave at once)\n');
    interrupt.abort();
  };
  process.on('SIGINT', onSignal);
  try {
    const options = readOptions(args, defaultSlo(), (path) => readFileSync(path, 'utf8'));
    return await runLoadTest(options, {
      command: `toonfleet loadtest ${shellWords(args)}`,
      out: process.stdout,
      err: process.stderr,
      interrupt: interrupt.signal,
      keep: keepCeiling,
    });
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\nSee: toonfleet loadtest --help\n`);
      return EXIT.usage;
    }
    if (error instanceof PicturesError) {
      process.stderr.write(`Nothing was loaded: ${error.message}\n`);
      return EXIT.usage;
    }
    if (error instanceof PreflightError) {
      process.stderr.write(`Nothing was loaded: ${error.message}\n`);
      return error.exit;
    }
    throw error;
  } finally {
    process.off('SIGINT', onSignal);
  }
}

/** Keeps a confirmed ceiling for `toonfleet capacity`; one file a measurement, newest last by name. */
function keepCeiling(run: Run): string {
  const dir = join(loadSettings().data_dir, CEILINGS_DIR);
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${run.fleet.node_count ?? 1}-nodes.${run.started_at.replace(/[:.]/g, '-')}.json`);
  writeFileSync(path, `${JSON.stringify(run, null, 1)}\n`);
  return path;
}
