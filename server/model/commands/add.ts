// `toonfleet models add`: from a file and a line of options to a model that workers load when they are reloaded.

import { resolve } from 'node:path';
import type { PresetName } from '../entries/presets.ts';
import { addDetector } from './add-detector.ts';
import { addFile } from './add-file.ts';
import { ADD_OPTIONS, type AddValues, isPart, withPresetOptions } from './add-options.ts';
import {
  type AskedStyle,
  acceptLicence,
  type ModelsSettings,
  nameOf,
  parse,
  styleOf,
  UsageFault,
} from './arguments.ts';
import { requireFile } from './given-file.ts';

/** Adds a generator or a detector of faces. */
export async function add(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, ADD_OPTIONS);
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageFault('add takes one FILE');
  const path = resolve(file);
  await requireFile(path);
  refuseOtherPreset(values);
  if (values.detector) return await addDetector(path, values, settings);
  const { name, style } = identityOf(values);
  return await addFile({ path, name, style, values: withPresetOptions(values) }, settings);
}

/** The presets that an added file may have; the one left out is that of a composite. */
const PRESETS_OF = {
  generator: ['dct-net-head', 'dct-net-background'],
  detector: ['retinaface-mobilenet'],
} as const satisfies Record<string, readonly PresetName[]>;

/** The numbers of one kind of model mean nothing for another. */
function refuseOtherPreset({ preset, detector }: AddValues): void {
  const allowed: readonly string[] = PRESETS_OF[detector ? 'detector' : 'generator'];
  if (preset !== undefined && !allowed.includes(preset))
    throw new UsageFault(`--preset: found "${preset}"; allowed: ${allowed.join(', ')}`);
}

function identityOf(values: AddValues): { name: string; style: AskedStyle | undefined } {
  const name = nameOf(values.name);
  acceptLicence(values);
  return { name, style: isPart(values) ? undefined : styleOf(values.style) };
}
