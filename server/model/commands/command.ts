// `toonfleet models`: what an operator does with models. Knows which subcommand is asked for, and what their faults mean to the
// shell; each does its work in its own file. Speaks on stdout, faults on stderr.

import { ModelFault } from '../entries/fault.ts';
import { add } from './add.ts';
import { type ModelsSettings, UsageFault } from './arguments.ts';
import { compose } from './compose.ts';
import { list } from './list.ts';
import { remove } from './remove.ts';
import { USAGE } from './usage.ts';
import { verify } from './verify.ts';

/** Runs `toonfleet models ARGS`; the result is the exit code. */
export async function modelsCommand(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const [verb, ...rest] = args;
  try {
    switch (verb) {
      case 'list':
        return list(rest, settings);
      case 'verify':
        return await verify(rest, settings);
      case 'add':
        return await add(rest, settings);
      case 'compose':
        return await compose(rest, settings);
      case 'remove':
        return await remove(rest, settings);
      case 'pull':
        return await (await import('./pull.ts')).pullModel(rest, settings);
      case 'optimize':
        return await (await import('./optimize.ts')).optimizeModel(rest, settings);
      case undefined:
      case 'help':
      case '--help':
      case '-h':
        console.log(USAGE);
        return verb === undefined ? 2 : 0;
      default:
        throw new UsageFault(`there is no "models ${verb}"`);
    }
  } catch (error) {
    if (error instanceof UsageFault) {
      console.error(`${error.message}\n\n${USAGE}`);
      return 2;
    }
    if (error instanceof ModelFault || isOfTheSystem(error)) {
      console.error(error.message);
      return 1;
    }
    throw error;
  }
}

/** A disk that is full, a folder that nobody may write to: Node's sentence names the path and says it all. */
const isOfTheSystem = (error: unknown): error is Error => error instanceof Error && 'syscall' in error;
