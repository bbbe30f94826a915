// The manifest: a YAML file of entries, as the package brings one and `toonfleet models` writes one. Reads and checks it;
// what follows from the entries is installed.ts's.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { compositeEntrySchema, detectorEntrySchema } from './face-entries.ts';
import { ModelFault } from './fault.ts';
import { modelEntrySchema } from './model-entry.ts';
import { withPreset } from './presets.ts';

const anyEntrySchema = z.preprocess(
  withPreset,
  z.discriminatedUnion('kind', [modelEntrySchema, detectorEntrySchema, compositeEntrySchema]),
);
/** An entry of a manifest: a generator, a detector of faces, or a composite of both. */
export type AnyEntry = z.infer<typeof anyEntrySchema>;

export const manifestSchema = z.strictObject({ models: z.array(anyEntrySchema).max(200) });
export type Manifest = z.infer<typeof manifestSchema>;

/** The manifest of the embedded styles. */
export const EMBEDDED_MANIFEST = join(PACKAGE_ROOT, 'server/models/manifest.yaml');

/** Where the manifest of added models lies. */
export function addedManifestPath(modelsDir: string): string {
  return join(modelsDir, 'manifest.yaml');
}

/**
 * Reads one manifest.
 * @throws {ModelFault} that names the file, the model and what is allowed.
 */
export function readManifest(path: string): Manifest {
  let tree: unknown;
  try {
    tree = parseYaml(readFileSync(path, 'utf8'), { maxAliasCount: 10 }) ?? { models: [] };
  } catch (error) {
    throw new ModelFault(`${path} cannot be read as a manifest: ${(error as Error).message.split('\n')[0]}`, {
      cause: error,
    });
  }
  const parsed = manifestSchema.safeParse(tree);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new ModelFault(`${path} is no valid manifest: ${faults.join('; ')}`);
}

/**
 * The entries of the manifest of added models; none where there is no manifest.
 * @throws {ModelFault} as {@link readManifest}.
 */
export function addedEntries(modelsDir: string): readonly AnyEntry[] {
  const path = addedManifestPath(modelsDir);
  return existsSync(path) ? readManifest(path).models : [];
}
