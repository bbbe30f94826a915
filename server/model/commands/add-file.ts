// How a generator's file becomes an installed model, for `add` and `pull`: probed, sealed, entered, shown, and prepared for
// this CPU.

import { enter, refuseTaken } from '../entries/enter.ts';
import { computedOn, installedModels } from '../entries/installed.ts';
import { manifestText, seal } from '../entries/seal.ts';
import { withInference } from '../inference/session.ts';
import { exactFolderOf, exactOrder } from '../variants/exact-order.ts';
import type { AddValues } from './add-options.ts';
import type { AskedStyle, ModelsSettings } from './arguments.ts';
import { enterLook } from './look.ts';
import { findOut, proposed, proposeEntry, rangesOf } from './proposal.ts';

/** A file that is to be installed, and as what. */
export interface AddedFile {
  readonly path: string;
  readonly name: string;
  /** Undefined for a model that only draws parts of pictures. */
  readonly style: AskedStyle | undefined;
  readonly values: AddValues;
}

/** Seals a file and enters it in the manifest. */
export async function addFile(
  { path, name, style, values }: AddedFile,
  settings: ModelsSettings,
): Promise<number> {
  refuseTaken(name, settings.models.dir, style?.id);
  const sealed = await withInference(async (inference) => {
    // Loading first: it refuses what is no ONNX file, or would read other files.
    const { io } = await inference.load({ name, path });
    const findings = await findOut(path, io, values);
    const ranges = await rangesOf(findings, io, values);
    const entry = proposed(
      proposeEntry({ name, style, file: `${name}.onnx`, io, values, findings, ...ranges }),
    );
    return await seal(entry, path, inference);
  });
  const text = manifestText([sealed]);
  if (values['dry-run']) {
    console.log(text);
    return 0;
  }
  const { dir } = settings.models;
  await enter(sealed, [{ from: path, to: sealed.file }], dir);
  console.log(text);
  await enterLook(name, dir);
  await prepare(name, settings);
  console.log(`${name} was added to ${dir}. Workers draw it after: toonfleet reload`);
  return 0;
}

/** Makes now what the first worker would have to make at its start: the graph for this CPU. */
async function prepare(name: string, { models, data_dir }: ModelsSettings): Promise<void> {
  const folder = data_dir === undefined ? undefined : exactFolderOf({ models, data_dir });
  const all = computedOn(installedModels(models.dir), models.execution_providers);
  const model = all.find((each) => each.name === name);
  const order = model && folder !== undefined ? exactOrder(model, folder) : undefined;
  if (!model || !order) return;
  const { variant, why } = await withInference((inference) => inference.load(model, order));
  console.log(
    variant === 'f32' ? `It is drawn with as it is: ${why}.` : 'It is drawn with a graph made for this CPU.',
  );
}
