// Puts this process before others. A generator that shares its cores with the server must not wait for it: it would
// measure its own waiting.

import { existsSync, readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Of -20 (first) to 19 (last). */
const GENERATOR_PRIORITY = -10;

/** Only a privileged user may ask for this; tells whether it was granted. */
export function raisePriority(): 'raised' | 'ordinary' {
  try {
    setPriority(GENERATOR_PRIORITY);
    // Linux keeps a priority for each thread, and the main thread waits for those that collect garbage.
    for (const thread of existsSync('/proc/self/task') ? readdirSync('/proc/self/task') : []) {
      setPriority(Number(thread), GENERATOR_PRIORITY);
    }
    return 'raised';
  } catch {
    return 'ordinary';
  }
}

/** What stands before a command that is to run with the ordinary priority, however this process has raised its own. */
export function ordinaryPrefix(): string[] {
  const own = getPriority();
  return own < 0 ? ['nice', '-n', String(-own)] : [];
}

/** A command with its {@link ordinaryPrefix}, for spawn. */
export function ordinarily(command: readonly string[]): {
  readonly program: string;
  readonly args: string[];
} {
  const [program = '', ...args] = [...ordinaryPrefix(), ...command];
  return { program, args };
}
