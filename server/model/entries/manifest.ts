// The manifest: which models are installed, what each takes and gives, and which styles it draws.
// Reads and checks the YAML; never opens a model file (inference-thread.ts does, and compares the digest).

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { EXECUTION_PROVIDERS, type ExecutionProvider } from '../../../config/schema.ts';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import type { Mask } from '../../faces/mask.ts';
import { fileInside, licence, MODEL_NAME, sealSchema, sha256, side, styleSchema } from './entry-fields.ts';
import {
  type CompositeEntry,
  compositeEntrySchema,
  type DetectorEntry,
  detectorEntrySchema,
} from './face-entries.ts';
import { withPreset } from './presets.ts';

export { type Golden, MODEL_NAME, STYLE_ID } from './entry-fields.ts';

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

/** What may stand beside a picture up to a model's multiple. */
export const PADDINGS = ['edge', 'white', 'dct-net'] as const;
export type Padding = (typeof PADDINGS)[number];

/** Pixels as they are: what rewritten graphs take and give. */
export const PIXEL_FORMAT: TensorFormat = {
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'uint8', range: [0, 255] },
  output: { type: 'uint8', range: [0, 255] },
};

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
  kind: z.literal('generator'),
  /** Both sides of the input are multiples of it. */
  size_multiple: side.default(1),
  /** Smaller pictures are enlarged to it for the model. */
  min_side: side.default(16),
  /** Width and height, for models that take one size only. */
  fixed_size: z.tuple([side, side]).optional(),
  /** The longest that the shorter side may be for it, px; a larger drawing is enlarged to the answer. */
  max_short_side: side.optional(),
  /**
   * What stands beside the picture up to `size_multiple`: its edge (which goes without saying), or white. `dct-net` is white too, and where one side
   * is no multiple the other grows by a whole one even if it is: its networks were fed so.
   */
  padding: z.enum(PADDINGS).optional(),
  // One input, one output: a generator draws one style, under as many aliases as it likes; or none, when it only draws
  // parts of pictures for a face-composite.
  styles: z.array(styleSchema).max(1),
  licence,
  source: z.string().max(500).default(''),
  ...sealSchema.shape,
  /** What computes it, where that is not models.execution_providers. */
  execution_providers: z.array(z.enum(EXECUTION_PROVIDERS)).min(1).optional(),
  /** Faster ones of the same model; a worker draws with the fastest that its CPU runs correctly. */
  variants: z.array(variantSchema).max(4).optional(),
});
export type ModelEntry = z.infer<typeof modelEntrySchema>;

const anyEntrySchema = z.preprocess(
  withPreset,
  z.discriminatedUnion('kind', [modelEntrySchema, detectorEntrySchema, compositeEntrySchema]),
);
/** An entry of a manifest: a generator, a detector of faces, or a composite of both. */
export type AnyEntry = z.infer<typeof anyEntrySchema>;

export const manifestSchema = z.strictObject({ models: z.array(anyEntrySchema).max(200) });
export type Manifest = z.infer<typeof manifestSchema>;

/** A model of a manifest with its file's place. */
export interface InstalledModel extends ModelEntry {
  /** Where the ONNX file lies. */
  readonly path: string;
  /** Where its manifest lies, and with it its thumbnail. */
  readonly folder: string;
  /** True for the styles of the package itself. */
  readonly embedded: boolean;
  /** What of it draws: `f32` is the file itself, else the name of a variant. */
  readonly variant: string;
  /** The digest of the file at `path`; that of the source stays in `sha256`. */
  readonly fileSha256: string;
  /** How its entry has the file fed, in short; undefined for the styles of the package, which change with its release. */
  readonly feeding?: string | undefined;
}

/** A detector of a manifest with its file's place. */
export interface InstalledDetector extends DetectorEntry {
  readonly path: string;
}

/** A composite of a manifest with the parts that it names. */
export interface InstalledComposite extends Omit<CompositeEntry, 'detector' | 'face' | 'background'> {
  readonly detector: InstalledDetector;
  readonly face: InstalledModel;
  readonly background: InstalledModel;
  /** Where its manifest lies, and with it its mask if it has one of its own. */
  readonly folder: string;
  /** Of all its parts and its geometry: another one when the same photo may come out differently. */
  readonly sha256: string;
  /** The licences of its parts. */
  readonly licence: string;
  readonly embedded: false;
  readonly variant: 'composite';
  /** Its digest says that already. */
  readonly feeding?: undefined;
}

/** What draws a style. */
export type StyleModel = InstalledModel | FaceComposite;

/** A composite that is loaded: with what of its parts draws here, and its mask. */
export interface FaceComposite extends InstalledComposite {
  /** One byte a pixel of the crop. */
  readonly maskPixels: Mask;
}

/** Everything that is installed, by kind. */
export interface Installed {
  readonly models: readonly InstalledModel[];
  readonly composites: readonly InstalledComposite[];
  /** All detectors, also those that no composite names. */
  readonly detectors: readonly InstalledDetector[];
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
 * Everything that is installed: what the package brings and what was added to `modelsDir`.
 * @throws {ModelFault} when a manifest is not well formed, a name or style occurs twice, or a composite's part is missing.
 */
export function installedIn(modelsDir: string): Installed {
  const added = addedManifestPath(modelsDir);
  const own = readManifest(EMBEDDED_MANIFEST).models;
  const others = existsSync(added) ? readManifest(added).models : [];
  refuseTwins([...own, ...others]);
  const models = [
    ...own.filter(isGenerator).map((model) => install(model, EMBEDDED_MANIFEST, true)),
    ...others.filter(isGenerator).map((model) => install(model, added, false)),
  ];
  const place = (file: string) => resolve(dirname(added), file);
  const detectors = others
    .filter((entry) => entry.kind === 'detector')
    .map((entry) => ({ ...entry, path: place(entry.file) }));
  const composites = others
    .filter((entry) => entry.kind === 'face-composite')
    .map((entry) => compose(entry, models, detectors, dirname(added)));
  return { models, composites, detectors };
}

/** The installed generators. @throws {ModelFault} as {@link installedIn}. */
export function installedModels(modelsDir: string): InstalledModel[] {
  return [...installedIn(modelsDir).models];
}

const isGenerator = (entry: AnyEntry): entry is ModelEntry => entry.kind === 'generator';

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
 * What a worker loads. A composite brings its parts with it; those that were not named draw for it alone.
 * @param names `models.load`; empty means all.
 * @throws {ModelFault} for a name that is not installed.
 */
export function chooseInstalled(
  { models, composites, detectors }: Installed,
  names: readonly string[],
): Installed {
  const drawers = [...models, ...composites];
  const missing = names.filter((name) => !drawers.some((model) => model.name === name));
  if (missing.length > 0) {
    throw new ModelFault(
      `models.load names ${missing.join(', ')}, but installed are ${drawers.map((m) => m.name).join(', ')}; ` +
        'take the name out, or add the model: toonfleet models add FILE --name NAME …',
    );
  }
  if (names.length === 0) return { models, composites, detectors };
  const chosen = composites.filter(({ name }) => names.includes(name));
  const parts = chosen.flatMap(({ face, background }) => [face, background]);
  return {
    models: models
      .filter((model) => names.includes(model.name) || parts.includes(model))
      .map((model) => (names.includes(model.name) ? model : { ...model, styles: [] })),
    composites: chosen,
    detectors: detectors.filter((detector) => chosen.some((each) => each.detector === detector)),
  };
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
    folder: dirname(manifest),
    embedded,
    variant: SOURCE_VARIANT,
    fileSha256: model.sha256,
    feeding: embedded ? undefined : feedingOf(model),
  };
}

/** All of an entry that the same file draws another picture by. */
function feedingOf(entry: ModelEntry): string {
  const { layout, channels, input, output } = entry;
  const { size_multiple, min_side, fixed_size, max_short_side, padding } = entry;
  const fed = [layout, channels, input, output, size_multiple, min_side, fixed_size, max_short_side, padding];
  return createHash('sha256').update(JSON.stringify(fed)).digest('hex').slice(0, 8);
}

/** Finds a composite's parts and says what it is made of. */
function compose(
  entry: CompositeEntry,
  models: readonly InstalledModel[],
  detectors: readonly InstalledDetector[],
  folder: string,
): InstalledComposite {
  const part = <T extends { name: string }>(all: readonly T[], role: string, name: string): T => {
    const found = all.find((each) => each.name === name);
    if (found) return found;
    const known = all.map((each) => each.name).join(', ') || 'none';
    throw new ModelFault(`${entry.name} names ${name} as its ${role}, but installed are ${known}`);
  };
  const detector = part(detectors, 'detector', entry.detector);
  const face = part(models, 'face', entry.face);
  const background = part(models, 'background', entry.background);
  const wrong = whyNotCropped(entry.crop, face);
  if (wrong) throw new ModelFault(`${entry.name}: crop is ${entry.crop}, but ${face.name} ${wrong}`);
  const { styles: _styles, ...geometry } = entry;
  // Where the files lie is the machine's own affair: the same composite has the same digest everywhere.
  const { path: _path, ...found } = detector;
  const drawers = [face, background].flatMap((model) => [model.sha256, model.feeding]);
  const made = [geometry, found, ...drawers];
  return {
    ...entry,
    detector,
    face,
    background,
    folder,
    sha256: createHash('sha256').update(JSON.stringify(made)).digest('hex'),
    licence: [...new Set([face.licence, background.licence, detector.licence])].join('; '),
    embedded: false,
    variant: 'composite',
  };
}

/** Why a model cannot draw a square crop; undefined when it can. */
function whyNotCropped(crop: number, model: InstalledModel): string | undefined {
  const [width, height] = model.fixed_size ?? [crop, crop];
  if (width !== crop || height !== crop) return `takes ${width}×${height} only`;
  if (!model.fixed_size && crop % model.size_multiple !== 0)
    return `takes multiples of ${model.size_multiple}`;
  return crop < model.min_side ? `needs ${model.min_side} px` : undefined;
}

function refuseTwins(entries: readonly AnyEntry[]): void {
  const seen = new Set<string>();
  for (const entry of entries) {
    const styles = entry.kind === 'detector' ? [] : entry.styles;
    for (const key of [`model ${entry.name}`, ...styles.map((style) => `style ${style.id}`)]) {
      if (seen.has(key)) throw new ModelFault(`${key} stands in the manifests twice`);
      seen.add(key);
    }
  }
}
