// `toonfleet autoscale`: wakes and parks VMs for as long as it runs, or once for a timer. Runs on the box of one balancer.

import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { LoadedSettings } from '../../config/load.ts';
import { callerFor } from '../fleet.ts';
import { autoscaleFileIn } from '../process/autoscale-file.ts';
import { takeChangeLock } from '../process/change-lock.ts';
import { runHook } from '../process/hook.ts';
import { createLog } from '../process/log.ts';
import { EXIT_USAGE, Refusal, STANDARD } from '../terminal.ts';
import { type AdminCall, Autoscaler, type Look } from './autoscaler.ts';
import { balancersToAsk } from './balancers.ts';

const USAGE = `toonfleet autoscale [--once] [--dry-run] [--json] [--admin URL]
  Wakes a VM when the fleet has too little, and drains and parks one when it has too much, with the programs of the
  settings autoscale.wake and autoscale.park; runs until Ctrl-C, or looks once. With --dry-run it only says what it would do.
  One runs for a fleet, where a balancer is; what it remembers stands in autoscale.json in data_dir.
  Example: toonfleet autoscale --once --dry-run`;

/** Runs the command; the answer is the exit code. */
export async function autoscaleCommand(
  args: readonly string[],
  loadSettings: () => LoadedSettings,
): Promise<number> {
  const { say, complain } = STANDARD;
  try {
    const flags = read(args);
    if (flags.help) {
      say(USAGE);
      return 0;
    }
    return await run(loadSettings(), flags, complain);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    complain(error.message);
    return error.code;
  }
}

function read(args: readonly string[]) {
  const flag = { type: 'boolean' } as const;
  try {
    const options = {
      once: flag,
      'dry-run': flag,
      json: flag,
      help: flag,
      admin: { type: 'string' },
    } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new Refusal(`${(error as Error).message}\n${USAGE}`, EXIT_USAGE);
  }
}

async function run(
  settings: LoadedSettings,
  flags: ReturnType<typeof read>,
  complain: (text: string) => void,
): Promise<number> {
  const { autoscale } = settings;
  if (autoscale.wake.length === 0 && autoscale.park.length === 0 && !flags['dry-run'])
    throw new Refusal('Neither autoscale.wake nor autoscale.park names a program.', 1);
  const log = createLog('autoscale', settings.log_level);
  const lock = flags['dry-run']
    ? undefined
    : takeChangeLock(join(settings.data_dir, 'autoscale'), 'toonfleet autoscale');
  if (lock?.kind === 'held') throw new Refusal(`${lock.sentence}; one is enough for a fleet.`, 1);
  try {
    const autoscaler = new Autoscaler({
      settings: autoscale,
      minAvailable: settings.balancer.min_available,
      path: autoscaleFileIn(settings.data_dir),
      dryRun: flags['dry-run'] ?? false,
      balancers: callers(settings, flags.admin),
      run: (command, variables) =>
        runHook({ command, timeoutMs: autoscale.hook_timeout, variables }, process.env),
      log,
      now: Date.now,
    });
    if (flags.once) {
      const look = await autoscaler.look();
      process.stdout.write(`${lookText(look, flags.json ?? false)}\n`);
      return look.failed === undefined ? 0 : 1;
    }
    await untilStopped(autoscaler, autoscale.interval, (error) =>
      log.warn({ why: error.message }, 'no look'),
    );
    return 0;
  } catch (error) {
    if (error instanceof Refusal || !flags.once) throw error;
    complain((error as Error).message);
    return 1;
  } finally {
    lock?.release();
  }
}

/** @throws {Refusal} where one would be left out. */
function callers(settings: LoadedSettings, admin: string | undefined): [AdminCall, ...AdminCall[]] {
  const asked = balancersToAsk(settings, admin);
  if (asked.kind === 'too few') throw new Refusal(asked.sentence, 1);
  const [first, ...others] = asked.admins;
  return [callerFor(settings, first), ...others.map((other) => callerFor(settings, other))];
}

/** Looks again and again; a balancer that does not answer is asked again. A move that is under way ends in order. */
async function untilStopped(autoscaler: Autoscaler, intervalMs: number, onFault: (error: Error) => void) {
  const over = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => over.abort());
  while (!over.signal.aborted) {
    await autoscaler.look().catch(onFault);
    await wait(intervalMs, undefined, { signal: over.signal }).catch(() => {});
  }
}

function lookText(look: Look, json: boolean): string {
  if (json) return JSON.stringify(look);
  const { current, desired, move, words, failed } = look;
  const end = failed === undefined ? '' : `\n${failed}`;
  return `${current} ${current === 1 ? 'node' : 'nodes'} in service, ${desired} wanted; ${move}: ${words}${end}`;
}
