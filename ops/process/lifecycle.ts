// A process's birth and death: says "ready" to PM2, turns signals into one ordered close, and dies loudly on faults
// that PM2's cluster container would swallow. The only file that knows signals and, log.ts apart, PM2's messages.

import {
  EXIT_CONFIG,
  type LoadedSettings,
  loadSettings,
  SettingsError,
  type SettingsSources,
} from '../../config/load.ts';
import { createLog, type Log } from './log.ts';

/** One thing to do on the way out. Steps run in order, each to its end; one that fails does not stop the next. */
export interface CloseStep {
  readonly name: string;
  readonly run: () => Promise<void> | void;
}

/** What a composition root gives back: how to leave, first step first. */
export interface Running {
  readonly close: readonly CloseStep[];
}

/**
 * Runs one role as a process: settings, start, "ready" to PM2, and an ordered close on SIGINT, SIGTERM or a lost
 * PM2; `leave` does the same from inside. Wrong settings exit with 78 and every fault on stderr; a failed start exits with 1.
 */
export async function runProcess(
  role: string,
  start: (settings: LoadedSettings, log: Log, leave: (reason: string) => void) => Promise<Running>,
  sources: SettingsSources = {},
): Promise<void> {
  let settings: LoadedSettings;
  try {
    settings = loadSettings(sources);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_CONFIG);
  }
  const log = createLog(role, settings.log_level);
  const die = (what: string) => (error: unknown) => {
    log.error({ error }, what);
    process.exit(1);
  };
  // PM2's cluster container listens for rejections too, and only logs them: a worker would stay "online" and dead.
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));

  let _closing: Promise<void> | undefined;
  let running: Running | undefined;
  const leave = (reason: string) => {
    _closing ??= closeInOrder(running?.close ?? [], log, reason).then(() => process.exit(0));
  };
  process.on('SIGINT', () => leave('SIGINT'));
  process.on('SIGTERM', () => leave('SIGTERM'));
  process.on('disconnect', () => leave('PM2 is gone'));

  try {
    running = await start(settings, log, leave);
  } catch (error) {
    die('could not start')(error);
  }
  process.send?.('ready');
  log.info({}, 'ready');
}

/** Runs every step to its end, in order. */
export async function closeInOrder(steps: readonly CloseStep[], log: Log, reason: string): Promise<void> {
  log.info({ reason }, 'closing');
  for (const step of steps) {
    try {
      await step.run();
    } catch (error) {
      log.error({ error, step: step.name }, 'a step of closing failed');
    }
  }
}
