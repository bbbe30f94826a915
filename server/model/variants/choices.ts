// Which variant of each model is the fastest on this kind of CPU: measured once, remembered in a file that all workers of
// the machine share. A lost or damaged file costs a measurement, nothing else.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { LoadedSettings } from '../../../config/load.ts';
import { writeFileAtomically } from '../atomic-file.ts';
import type { InstalledModel } from '../entries/installed.ts';
import { variantsIn } from './exact-order.ts';
import { cpuModel, runtimeVersion } from './runtime.ts';
import { inTurn } from './turn.ts';

const fileSchema = z.record(z.string(), z.string());

/** Remembers choices between starts. */
export interface Choices {
  /** The name of the variant that was the fastest; undefined when this was not measured yet. */
  of(model: InstalledModel): string | undefined;
  /** Remembers a choice; a disk that is full only means measuring again. */
  remember(model: InstalledModel, variant: string): Promise<void>;
  /** Measures when no other process of this machine does; it may have chosen meanwhile. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** The clock that variants are measured by, in ms. */
  clock(): number;
}

/** CPU time of this process: several workers may start at once on a busy machine, and time on the wall would tell of that. */
export function cpuClock(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Time on the wall, for what another device than the CPU computes. */
const wallClock = () => performance.now();

/**
 * The choices of this machine's workers. Not beside the models: their folder may be one that a worker cannot write to, and
 * without the lock all of them would measure at once.
 */
export function choicesOf({ data_dir, models }: Pick<LoadedSettings, 'data_dir' | 'models'>): Choices {
  const path = join(variantsIn(data_dir), 'choices.json');
  const onCpu = models.execution_providers[0] === 'cpu';
  return {
    of: (model) => read(path)[keyOf(model)],
    async remember(model, variant) {
      // Read again: another worker may have measured another model meanwhile.
      const text = JSON.stringify({ ...read(path), [keyOf(model)]: variant }, null, 2);
      await writeFileAtomically(path, `${text}\n`).catch(() => {});
    },
    alone: (work) => inTurn(`${path}.lock`, work),
    clock: onCpu ? cpuClock : wallClock,
  };
}

/** Nothing is remembered. */
export const NO_CHOICES: Choices = {
  of: () => undefined,
  remember: async () => {},
  alone: (work) => work(),
  clock: cpuClock,
};

/** A choice holds for a kind of CPU, a version of ONNX Runtime, and these very files. */
function keyOf({ sha256, variants = [], execution_providers: providers = ['cpu'] }: InstalledModel): string {
  const files = [sha256, ...variants.map((variant) => variant.sha256)].map((digest) => digest.slice(0, 12));
  const elsewhere = providers.some((name) => name !== 'cpu') ? [providers.join(' ')] : [];
  return [cpuModel(), `onnxruntime ${runtimeVersion()}`, ...elsewhere, ...files].join(' / ');
}

function read(path: string): Record<string, string> {
  try {
    return fileSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return {};
  }
}
