// What a snapshot is made of: the settings file, the state that operators have set, the added models and, only when asked,
// secrets. What can be made again (pictures, graphs for this CPU, logs) is not. A part that changes while it is copied
// brings its own consistent copy, as the models' manifest does here; a database is one more such part.

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import type { LoadedSettings } from '../../config/load.ts';
import { settingRows } from '../../config/schema.ts';
import { BackupFault } from './fault.ts';
import type { Places, Snapshot } from './snapshot.ts';

/** State of this machine in data_dir: what an operator has said to its balancer and to its agent. */
const STATE_FILES = ['balancer-state.json', 'drain.json', 'scale.json', 'autoscale.json'] as const;
/** Where systemd hands over secrets; they belong elsewhere. */
const HANDED_OVER = /^\/run\/credentials\//;

/** One file of a snapshot and where it comes from. */
export interface Source {
  /** Inside the snapshot. */
  readonly path: string;
  readonly from: { readonly file: string } | { readonly text: string; readonly mode: number };
  /** What it must be, where somebody has written that down. */
  readonly sha256?: string;
}

/** All that goes into a snapshot. */
export interface Sources {
  readonly places: Places;
  readonly files: readonly Source[];
  readonly secrets: Snapshot['secrets'];
}

/** @throws {BackupFault} when the models' manifest cannot be read. */
export function sourcesOf(settings: LoadedSettings, withSecrets: boolean): Sources {
  const secrets = secretFilesOf(settings).map(({ setting, file }) => {
    const present = existsSync(file);
    return { setting, file, present, kept: withSecrets && present && !HANDED_OVER.test(file) };
  });
  const state = STATE_FILES.map((name) => ({ path: `state/${name}`, file: join(settings.data_dir, name) }));
  return {
    places: {
      settings: settings.source ?? null,
      data_dir: settings.data_dir,
      models_dir: settings.models.dir,
    },
    secrets,
    files: [
      ...(settings.source ? [{ path: 'settings/toonfleet.yaml', from: { file: settings.source } }] : []),
      ...state.filter(({ file }) => existsSync(file)).map(({ path, file }) => ({ path, from: { file } })),
      ...modelsOf(settings.models.dir),
      ...secrets
        .filter((secret) => secret.kept)
        .map(({ setting, file }) => ({ path: `secrets/${setting}`, from: { file } })),
    ],
  };
}

/** What of the models' manifest matters here; the workers judge the rest. */
const manifestSchema = z.object({
  models: z.array(
    z.object({
      file: z.string(),
      sha256: z.string(),
      variants: z.array(z.object({ file: z.string(), sha256: z.string() })).optional(),
      styles: z.array(z.object({ thumbnail: z.string().optional() })).optional(),
    }),
  ),
});

/** The added models: the manifest as it is at this moment, and the files that it names, each with its digest. */
function modelsOf(folder: string): Source[] {
  const path = join(folder, 'manifest.yaml');
  if (!existsSync(path)) return [];
  let manifest: z.infer<typeof manifestSchema>;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
    manifest = manifestSchema.parse(parseYaml(text, { maxAliasCount: 10 }) ?? { models: [] });
  } catch (cause) {
    throw new BackupFault(
      `${path} is no manifest of models, so nothing was backed up. See: toonfleet models verify`,
      {
        cause,
      },
    );
  }
  const file = (name: string, sha256?: string): Source => ({
    path: `models/${name}`,
    from: { file: join(folder, name) },
    ...(sha256 === undefined ? {} : { sha256 }),
  });
  return [
    { path: 'models/manifest.yaml', from: { text, mode: 0o644 } },
    ...manifest.models.flatMap((model) => [
      ...[model, ...(model.variants ?? [])].map((each) => file(each.file, each.sha256)),
      ...(model.styles ?? []).flatMap(({ thumbnail }) => (thumbnail === undefined ? [] : [file(thumbnail)])),
    ]),
  ];
}

/**
 * Every setting that names a file with a secret, and its file: as the settings file says, since a supervisor that hands
 * secrets over names a copy of its own in the environment.
 */
function secretFilesOf(settings: LoadedSettings): { setting: string; file: string }[] {
  const written: unknown =
    settings.source === undefined
      ? {}
      : parseYaml(readFileSync(settings.source, 'utf8'), { maxAliasCount: 10 });
  const ofSecrets = settingRows()
    .filter(({ secret }) => secret)
    .map(({ name }) => `${name}_file`);
  return [...ofSecrets, 'balancer.tls.key_file'].flatMap((setting) => {
    const file = valueAt(written, setting) || valueAt(settings, setting);
    return typeof file === 'string' && file !== '' ? [{ setting, file: resolve(file) }] : [];
  });
}

function valueAt(tree: unknown, name: string): unknown {
  return name
    .split('.')
    .reduce<unknown>((room, key) => (room as Record<string, unknown> | null | undefined)?.[key], tree);
}
