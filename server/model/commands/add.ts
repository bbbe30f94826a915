// `toonfleet models add`: from a file and a line of options to a model that workers load when they are reloaded.

import { resolve } from 'node:path';
import { isPreset, PRESETS } from '../entries/presets.ts';
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
  if (values.preset !== undefined && !isPreset(values.preset))
    throw new UsageFault(`--preset: found "${values.preset}"; allowed: ${Object.keys(PRESETS).join(', ')}`);
  if (values.detector) return await addDetector(path, values, settings);
  const { name, style } = identityOf(values);
  return await addFile({ path, name, style, values: withPresetOptions(values) }, settings);
}

function identityOf(values: AddValues): { name: string; style: AskedStyle | undefined } {
  const name = nameOf(values.name);
  acceptLicence(values);
  return { name, style: isPart(values) ? undefined : styleOf(values.style) };
}
