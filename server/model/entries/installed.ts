// What is installed: the entries of both manifests with their files' places, a composite's parts found, and no name given
// twice. Never opens a model file (inference-thread.ts does, and compares the digest).

import { createHash } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import type { ExecutionProvider } from '../../../config/schema.ts';
import type { Mask } from '../../faces/mask.ts';
import type { CompositeEntry, DetectorEntry } from './face-entries.ts';
import { ModelFault } from './fault.ts';
import {
  type AnyEntry,
  addedEntries,
  addedManifestPath,
  EMBEDDED_MANIFEST,
  readManifest,
} from './manifest.ts';
import type { ModelEntry, Variant } from './model-entry.ts';
import { PIXEL_FORMAT } from './tensor-format.ts';

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

/**
 * Everything that is installed: what the package brings and what was added to `modelsDir`.
 * @throws {ModelFault} when a manifest is not well formed, a name or style occurs twice, or a composite's part is missing.
 */
export function installedIn(modelsDir: string): Installed {
  return installedBy(addedEntries(modelsDir), modelsDir);
}

/**
 * What would be installed with these entries in the manifest of `modelsDir`.
 * @throws {ModelFault} as {@link installedIn}.
 */
export function installedBy(others: readonly AnyEntry[], modelsDir: string): Installed {
  const added = addedManifestPath(modelsDir);
  const own = readManifest(EMBEDDED_MANIFEST).models;
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
  const { models, detectors, composites } = installedIn(modelsDir);
  const generators = models.flatMap((model) => [
    { model: model.name, path: model.path, sha256: model.sha256, embedded: model.embedded, source: true },
    ...(model.variants ?? []).map((variant) => ({
      model: `${model.name} (${variant.name})`,
      path: resolve(dirname(model.path), variant.file),
      sha256: variant.sha256,
      embedded: model.embedded,
      source: false,
    })),
  ]);
  const finders = detectors.map(({ name, path, sha256 }) => ({ model: name, path, sha256 }));
  const masks = composites.flatMap(({ name, folder, mask }) =>
    mask ? [{ model: `${name} (mask)`, path: join(folder, mask.file), sha256: mask.sha256 }] : [],
  );
  const added = { embedded: false, source: true };
  return [...generators, ...[...finders, ...masks].map((file) => ({ ...file, ...added }))];
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
