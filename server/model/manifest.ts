// The manifest: which models are installed, what each takes and gives, and which styles it draws.
// Reads and checks the YAML; never opens a model file (inference-thread.ts does, and compares the digest).

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { EXECUTION_PROVIDERS, type ExecutionProvider } from '../../config/schema.ts';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';

/** Ids of styles, as clients write them. */
export const STYLE_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** Names of models, as `models.load` and reports write them. */
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const valuesSchema = z.strictObject({
  /** The tensor's element type. */
  type: z.enum(['uint8', 'float32']),
  /** The values that stand for black and for full light. */
  range: z.tuple([z.number(), z.number()]).refine(([black, white]) => black < white, 'black below white'),
});

/** A picture's way into a tensor and out of one. */
export const tensorFormatSchema = z.strictObject({
  layout: z.enum(['NHWC', 'NCHW']),
  channels: z.enum(['RGB', 'BGR']),
  input: valuesSchema,
  output: valuesSchema,
});
export type TensorFormat = z.infer<typeof tensorFormatSchema>;

/** Pixels as they are: what rewritten graphs take and give. */
export const PIXEL_FORMAT: TensorFormat = {
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'uint8', range: [0, 255] },
  output: { type: 'uint8', range: [0, 255] },
};

const fileInside = z
  .string()
  .regex(/^[^\0]{1,255}$/)
  .refine((file) => !file.startsWith('/') && !file.split(/[\\/]/).includes('..'), 'inside its folder');
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const side = z.number().int().min(1).max(8192);

export const goldenSchema = z.strictObject({
  /** The seed that the tiny picture is drawn from. */
  seed: z.number().int().min(0),
  /** Block means of what the model draws from it, as base64; see golden.ts. */
  means: z.base64(),
});
export type Golden = z.infer<typeof goldenSchema>;

/** The same model, rewritten to be faster: takes and gives the pixels as they are. Made by `models optimize`. */
export const variantSchema = z.strictObject({
  /** What X-Model calls it. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/),
  file: fileInside,
  sha256,
  /** The worst of the pictures that it was compared with its source on, in dB. */
  psnr: z.number(),
  ssim: z.number(),
  /** CPU time of the source by its own, where it was made. */
  ratio: z.number().positive(),
});
export type Variant = z.infer<typeof variantSchema>;

export const modelEntrySchema = tensorFormatSchema.extend({
  name: z.string().regex(MODEL_NAME),
  /** The ONNX file, relative to the manifest. */
  file: fileInside,
  sha256,
  kind: z.literal('generator'),
  /** Both sides of the input are multiples of it. */
  size_multiple: side.default(1),
  /** Smaller pictures are enlarged to it for the model. */
  min_side: side.default(16),
  /** Width and height, for models that take one size only. */
  fixed_size: z.tuple([side, side]).optional(),
  styles: z
    .array(
      z.strictObject({
        id: z.string().regex(STYLE_ID),
        title: z.string().min(1).max(100),
        aliases: z.array(z.string().regex(STYLE_ID)).default([]),
        /** A picture of the style beside the manifest, shown to people who choose. */
        thumbnail: z
          .string()
          .regex(/^[a-z0-9/_-]+\.webp$/)
          .optional(),
      }),
    )
    // One input, one output: a generator draws one style, under as many aliases as it likes.
    .length(1),
  licence: z.string().min(1).max(200),
  source: z.string().max(500).default(''),
  golden: goldenSchema,
  /** What computes it, where that is not models.execution_providers. */
  execution_providers: z.array(z.enum(EXECUTION_PROVIDERS)).min(1).optional(),
  /** Faster ones of the same model; a worker draws with the fastest that its CPU runs correctly. */
  variants: z.array(variantSchema).max(4).optional(),
});
export type ModelEntry = z.infer<typeof modelEntrySchema>;

export const manifestSchema = z.strictObject({ models: z.array(modelEntrySchema).max(200) });
export type Manifest = z.infer<typeof manifestSchema>;

/** A model of a manifest with its file's place. */
export interface InstalledModel extends ModelEntry {
  /** Where the ONNX file lies. */
  readonly path: string;
  /** True for the styles of the package itself. */
  readonly embedded: boolean;
  /** What of it draws: `f32` is the file itself, else the name of a variant. */
  readonly variant: string;
  /** The digest of the file at `path`; that of the source stays in `sha256`. */
  readonly fileSha256: string;
}

/** What draws when nothing was chosen. */
export const SOURCE_VARIANT = 'f32';

/** A model as one of its variants draws it. */
export function asVariant(model: InstalledModel, variant: Variant): InstalledModel {
  return {
    ...model,
    ...PIXEL_FORMAT,
    path: resolve(dirname(model.path), variant.file),
    variant: variant.name,
    fileSha256: variant.sha256,
  };
}

/** What is wrong with the installed models, in words for an operator. */
export class ModelFault extends Error {
  override readonly name = 'ModelFault';
}

/** What is to compute a model is not there; the model itself may be sound. */
export class ProviderFault extends ModelFault {}

/** The manifest of the embedded styles. */
export const EMBEDDED_MANIFEST = join(PACKAGE_ROOT, 'server/models/manifest.yaml');

/** Where the manifest of added models lies. */
export function addedManifestPath(modelsDir: string): string {
  return join(modelsDir, 'manifest.yaml');
}

/**
 * Every installed model: the embedded ones and those that were added to `modelsDir`.
 * @throws {ModelFault} when a manifest is not well formed, or a name or style occurs twice.
 */
export function installedModels(modelsDir: string): InstalledModel[] {
  const added = addedManifestPath(modelsDir);
  const models = [
    ...readManifest(EMBEDDED_MANIFEST).models.map((model) => install(model, EMBEDDED_MANIFEST, true)),
    ...(existsSync(added) ? readManifest(added).models : []).map((model) => install(model, added, false)),
  ];
  refuseTwins(models);
  return models;
}

/**
 * Every file that the manifests name, with the digest that it should have; for who looks after files and not models.
 * @throws {ModelFault} as {@link installedModels} does.
 */
export function modelFiles(
  modelsDir: string,
): { model: string; path: string; sha256: string; embedded: boolean; source: boolean }[] {
  return installedModels(modelsDir).flatMap((model) => [
    { model: model.name, path: model.path, sha256: model.sha256, embedded: model.embedded, source: true },
    ...(model.variants ?? []).map((variant) => ({
      model: `${model.name} (${variant.name})`,
      path: resolve(dirname(model.path), variant.file),
      sha256: variant.sha256,
      embedded: model.embedded,
      source: false,
    })),
  ]);
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
 * The models that a worker loads.
 * @param names `models.load`; empty means all.
 * @throws {ModelFault} for a name that is not installed.
 */
export function chooseModels(models: readonly InstalledModel[], names: readonly string[]): InstalledModel[] {
  const missing = names.filter((name) => !models.some((model) => model.name === name));
  if (missing.length > 0) {
    throw new ModelFault(
      `models.load names ${missing.join(', ')}, but installed are ${models.map((m) => m.name).join(', ')}; ` +
        'take the name out, or add the model: toonfleet models add FILE --name NAME …',
    );
  }
  return names.length === 0 ? [...models] : models.filter((model) => names.includes(model.name));
}

/** The same models, computed on the settings' providers where their entries name none. */
export function computedOn(
  models: readonly InstalledModel[],
  providers: readonly ExecutionProvider[],
): InstalledModel[] {
  return models.map((model) => ({
    ...model,
    execution_providers: model.execution_providers ?? [...providers],
  }));
}

function install(model: ModelEntry, manifest: string, embedded: boolean): InstalledModel {
  return {
    ...model,
    path: resolve(dirname(manifest), model.file),
    embedded,
    variant: SOURCE_VARIANT,
    fileSha256: model.sha256,
  };
}

function refuseTwins(models: readonly InstalledModel[]): void {
  const seen = new Map<string, string>();
  for (const model of models) {
    for (const key of [`model ${model.name}`, ...model.styles.map((style) => `style ${style.id}`)]) {
      const other = seen.get(key);
      if (other) throw new ModelFault(`${key} stands in ${other} and again in ${model.path}`);
      seen.set(key, model.path);
    }
  }
}
