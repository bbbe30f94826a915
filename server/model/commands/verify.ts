// `toonfleet models verify`: loads every installed model and every variant of one, and compares file and drawing with what its
// entry says; and judges whether workers would find what the settings name.

import { ModelFault } from '../entries/fault.ts';
import {
  asVariant,
  chooseInstalled,
  computedOn,
  type Installed,
  type InstalledDetector,
  type InstalledModel,
  installedIn,
} from '../entries/installed.ts';
import { goldenInput, judge } from '../golden.ts';
import { detectorPicture, whyOtherMeans } from '../inference/detector.ts';
import { type Inference, withInference } from '../inference/session.ts';
import { Library } from '../library.ts';
import { maskOf } from '../mask-file.ts';
import { JSON_OPTION, type ModelsSettings, parse } from './arguments.ts';
import { print } from './table.ts';

/** Prints a verdict on each; the result is 1 when one is wrong. */
export async function verify(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values } = parse(args, JSON_OPTION);
  const rows = await withInference(async (inference) => {
    const found: { model: string; verdict: string; fault: string }[] = [];
    const tell = (model: string, fault: string | undefined) =>
      found.push({ model, verdict: fault === undefined ? 'right' : 'WRONG', fault: fault ?? '' });
    const { dir, execution_providers: providers } = settings.models;
    const installed = installedIn(dir);
    const { models, detectors, composites } = installed;
    for (const model of computedOn(models, providers)) {
      tell(model.name, await faultOf(() => verifyModel(model, inference)));
      // Workers draw on with the file itself when a variant fails, and only slower: nobody else would tell.
      for (const variant of model.variants ?? []) {
        const faster = asVariant(model, variant);
        tell(`${model.name} (${variant.name})`, await faultOf(() => verifyModel(faster, inference)));
      }
    }
    for (const detector of detectors)
      tell(detector.name, await faultOf(() => verifyDetector(detector, inference)));
    // A composite's parts stand above; what is its own is its mask.
    for (const composite of composites)
      tell(composite.name, await faultOf(async () => void (await maskOf(composite))));
    const unmet = await faultOf(async () => whatWorkersLoad(installed, settings, inference));
    if (unmet !== undefined) tell(unmet.split(' ', 1).join(), unmet);
    return found;
  });
  print(rows, values.json === true);
  return rows.some(({ fault }) => fault !== '') ? 1 : 0;
}

/** @throws {ModelFault} that begins with the setting which names what is not installed; a worker with it never gets ready. */
function whatWorkersLoad(
  installed: Installed,
  { models: { load, default_style, lighter_style } }: ModelsSettings,
  inference: Inference,
): void {
  const chosen = chooseInstalled(installed, load);
  new Library(chosen, default_style, inference, undefined, undefined, { lighterStyle: lighter_style });
}

/** A model, or what {@link asVariant} makes of it: the golden picture is the same. */
async function verifyModel(model: InstalledModel, inference: Inference): Promise<void> {
  await inference.load({ ...model, sha256: model.fileSha256 });
  const drawing = await inference.run(model, goldenInput(model, model.golden.seed));
  const verdict = judge(drawing, model.golden);
  if (verdict.kind === 'wrong') throw new ModelFault(`model ${model.name} (${model.path}): ${verdict.why}`);
}

async function verifyDetector(detector: InstalledDetector, inference: Inference): Promise<void> {
  await inference.loadDetector(detector);
  const { means } = await inference.detect(detector, detectorPicture(detector, detector.golden.seed));
  const why = whyOtherMeans(means, detector.golden.means);
  if (why) throw new ModelFault(`detector ${detector.name} (${detector.path}): ${why}`);
}

async function faultOf(work: () => Promise<void>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof ModelFault) return error.message;
    throw error;
  }
}
