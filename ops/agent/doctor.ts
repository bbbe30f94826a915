// Has `toonfleet doctor` look at this machine. Knows nothing of what is checked.

import { ToonError } from '../../config/errors.ts';
import { ownCommand } from './own-command.ts';

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

async function examine(configFile: string | undefined): Promise<unknown> {
  const { code, output } = await ownCommand(['doctor', '--json'], configFile);
  try {
    return JSON.parse(output);
  } catch (cause) {
    throw new ToonError('internal_error', { detail: `doctor gave no report (exit code ${code})` }, { cause });
  }
}
