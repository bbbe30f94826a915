// The workers as PM2 runs them: which there are, and how to have more or fewer. Waits as long as PM2 does: until new ones
// say "ready", or until those that leave have drained and gone.

import { z } from 'zod';
import { runPm2 } from '../process/pm2-command.ts';

const listSchema = z.array(z.object({ name: z.string(), pid: z.number().int().optional() }));

/** PM2 as scaling needs it. */
export interface Pm2Workers {
  /** The processes that PM2 runs as workers, 0 for one that is down; undefined when it does not tell. */
  readonly pids: () => Promise<number[] | undefined>;
  /** Brings their number to `count`. @throws {Error} with PM2's own words. */
  readonly scale: (count: number) => Promise<void>;
}

/**
 * PM2 with this home. `pm2 scale worker N` takes an absolute number; it sends SIGINT to the oldest workers, one after the
 * other, each with its whole kill_timeout, which lies above the longest drain.
 */
export function pm2Workers(home: string): Pm2Workers {
  const run = async (args: readonly string[]) => {
    let output = '';
    const code = await runPm2(home, args, (text) => {
      output += text;
    });
    return { code, output };
  };
  return {
    async pids() {
      const { code, output } = await run(['jlist', '--silent']);
      const list = output.split('\n').find((line) => line.startsWith('['));
      if (code !== 0 || list === undefined) return undefined;
      const apps = listSchema.parse(JSON.parse(list));
      return apps.filter(({ name }) => name === 'worker').map(({ pid }) => pid ?? 0);
    },
    async scale(count) {
      const { code, output } = await run(['scale', 'worker', String(count)]);
      // Somebody was faster.
      if (code === 0 || /Nothing to do/.test(output)) return;
      throw new Error(output.trim().slice(-500) || `PM2 ended with ${code}`);
    },
  };
}
