// Makes model entries trustworthy: the digest of the file, and the golden picture drawn by it here and now.
// Run by itself it reseals the embedded manifest after the styles were made anew: npx tsx server/model/entries/seal.ts

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDocument, stringify } from 'yaml';
import { z } from 'zod';
import { writeFileAtomically } from '../atomic-file.ts';
import { goldenInput, sumUp, whyUnusable } from '../golden.ts';
import { detectorPicture, sumUpMeans } from '../inference/detector.ts';
import { type Inference, startInference } from '../inference/session.ts';
import type { DetectorEntry } from './face-entries.ts';
import { ModelFault } from './fault.ts';
import { type AnyEntry, EMBEDDED_MANIFEST } from './manifest.ts';
import { type ModelEntry, modelEntrySchema } from './model-entry.ts';

/** An entry before its digest and golden picture are known. */
export type UnsealedEntry = Omit<ModelEntry, 'sha256' | 'golden'>;

/** A detector before its digest and golden outputs are known. */
export type UnsealedDetector = Omit<DetectorEntry, 'sha256' | 'golden'>;

const GOLDEN_SEED = 1;

/**
 * Loads a model, draws its golden picture, and completes its entry.
 * @throws {ModelFault} when it cannot be loaded or draws nothing.
 */
export async function seal(entry: UnsealedEntry, path: string, inference: Inference): Promise<ModelEntry> {
  const { sha256 } = await inference.load({ name: entry.name, path });
  const drawing = await inference.run(entry, goldenInput(entry, GOLDEN_SEED));
  const unusable = whyUnusable(drawing);
  if (unusable)
    throw new ModelFault(`model ${entry.name} (${path}): ${unusable}; are layout and range right?`);
  return { ...entry, sha256, golden: { seed: GOLDEN_SEED, means: sumUp(drawing) } };
}

/**
 * Loads a detector, shows it its golden picture, and completes its entry.
 * @throws {ModelFault} when it cannot be loaded, or its outputs are not those that its anchors ask for.
 */
export async function sealDetector(
  entry: UnsealedDetector,
  path: string,
  inference: Inference,
): Promise<DetectorEntry> {
  const sha256 = await inference.loadDetector({ name: entry.name, path });
  const { means } = await inference.detect(entry, detectorPicture(entry, GOLDEN_SEED));
  if (!means.every(Number.isFinite))
    throw new ModelFault(
      `detector ${entry.name} (${path}): its outputs are no numbers; are mean and scale right?`,
    );
  return { ...entry, sha256, golden: { seed: GOLDEN_SEED, means: sumUpMeans(means) } };
}

/** Seals every entry of a manifest that was written by hand; comments stay. */
async function sealManifest(manifest: string): Promise<void> {
  const document = parseDocument(readFileSync(manifest, 'utf8'));
  const unsealed = z
    .object({ models: z.array(modelEntrySchema.partial({ sha256: true, golden: true })) })
    .parse(document.toJS());
  const inference = startInference((reason) => {
    throw reason;
  });
  for (const [index, entry] of unsealed.models.entries()) {
    const sealed = await seal(entry, resolve(dirname(manifest), entry.file), inference);
    document.setIn(['models', index, 'sha256'], sealed.sha256);
    document.setIn(['models', index, 'golden'], document.createNode(sealed.golden));
    console.log(`${entry.name.padEnd(12)} ${sealed.sha256}`);
  }
  await inference.close();
  await writeFileAtomically(manifest, document.toString({ lineWidth: 0, flowCollectionPadding: false }));
}

/** A manifest as text. */
export function manifestText(models: readonly AnyEntry[]): string {
  return stringify({ models }, { lineWidth: 0 });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await sealManifest(EMBEDDED_MANIFEST);
