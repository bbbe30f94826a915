// `toonfleet models add --detector`: a model that finds faces, with its input and anchors.

import { resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { enter, refuseTaken } from '../entries/enter.ts';
import { detectorEntrySchema } from '../entries/face-entries.ts';
import { ModelFault } from '../entries/fault.ts';
import { isPreset, PRESETS } from '../entries/presets.ts';
import { manifestText, sealDetector } from '../entries/seal.ts';
import { withInference } from '../inference/session.ts';
import type { AddValues } from './add-options.ts';
import { acceptLicence, type ModelsSettings, nameOf } from './arguments.ts';
import { readGiven } from './given-file.ts';
import { parsedWith } from './proposal.ts';

/** Seals a detector of faces and enters it. */
export async function addDetector(
  path: string,
  values: AddValues,
  settings: ModelsSettings,
): Promise<number> {
  const name = nameOf(values.name);
  acceptLicence(values);
  const { dir } = settings.models;
  refuseTaken(name, dir);
  const { licence, source = '' } = values;
  const file = `${name}.onnx`;
  const preset = PRESETS[isPreset(values.preset) ? values.preset : 'retinaface-mobilenet'];
  const spec = values.spec === undefined ? {} : await readSpec(resolve(values.spec));
  const schema = detectorEntrySchema.omit({ sha256: true, golden: true });
  const entry = parsedWith(schema, { ...preset, ...spec, name, file, kind: 'detector', licence, source });
  const sealed = await withInference((inference) => sealDetector(entry, path, inference));
  if (!values['dry-run']) await enter(sealed, [{ from: path, to: file }], dir);
  console.log(manifestText([sealed]));
  if (!values['dry-run']) console.log(`${name} was added to ${dir}. Next: toonfleet models compose`);
  return 0;
}

async function readSpec(path: string): Promise<object> {
  const bytes = await readGiven(path);
  try {
    const spec: unknown = parseYaml(bytes.toString('utf8'), { maxAliasCount: 10 });
    if (typeof spec === 'object' && spec !== null && !Array.isArray(spec)) return spec;
  } catch (error) {
    throw new ModelFault(`${path}: ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
  throw new ModelFault(`${path}: found no fields; allowed are those of a detector, such as anchors`);
}
