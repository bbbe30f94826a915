// `toonfleet models verify`: loads every installed model, and compares file and drawing with what its entry says.

import { ModelFault } from '../entries/fault.ts';
import { computedOn, type InstalledDetector, installedIn } from '../entries/installed.ts';
import { goldenInput, judge } from '../golden.ts';
import { detectorPicture, whyOtherMeans } from '../inference/detector.ts';
import { type Inference, withInference } from '../inference/session.ts';
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
    const { models, detectors, composites } = installedIn(dir);
    for (const model of computedOn(models, providers)) {
      const fault = await faultOf(async () => {
        await inference.load(model);
        const verdict = judge(
          await inference.run(model, goldenInput(model, model.golden.seed)),
          model.golden,
        );
        if (verdict.kind === 'wrong')
          throw new ModelFault(`model ${model.name} (${model.path}): ${verdict.why}`);
      });
      tell(model.name, fault);
    }
    for (const detector of detectors)
      tell(detector.name, await faultOf(() => verifyDetector(detector, inference)));
    // A composite's parts stand above; what is its own is its mask.
    for (const composite of composites)
      tell(composite.name, await faultOf(async () => void (await maskOf(composite))));
    return found;
  });
  print(rows, values.json === true);
  return rows.some(({ fault }) => fault !== '') ? 1 : 0;
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
