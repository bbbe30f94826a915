// What a snapshot is made of: the settings file, the state that operators have set, the added models and, only when asked,
// secrets. What can be made again (pictures, graphs for this CPU, logs) is not. A part that changes while it is copied
// brings its own consistent copy, as the models' manifest does here; a database is one more such part.

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
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

/**
 * The added models: the manifest as it is at this moment, and every file that it names, whatever the entry's kind: what it
 * seals with a digest has to have it, thumbnails come along.
 */
function modelsOf(folder: string): Source[] {
  const path = join(folder, 'manifest.yaml');
  if (!existsSync(path)) return [];
  let text: string;
  let named: Source[];
  try {
    text = readFileSync(path, 'utf8');
    const tree: unknown = parseYaml(text, { maxAliasCount: 10 });
    if (!Array.isArray((tree as { models?: unknown }).models)) throw new Error('it has no list of models');
    named = filesNamedIn(tree).map(({ name, sha256 }) => ({
      path: `models/${insideOnly(name)}`,
      from: { file: join(folder, name) },
      ...(sha256 === undefined ? {} : { sha256 }),
    }));
  } catch (cause) {
    throw new BackupFault(
      `${path} is no manifest of models, so nothing was backed up. See: toonfleet models verify`,
      { cause },
    );
  }
  // Two entries may name one file.
  const once = new Map(named.map((source) => [source.path, source]));
  return [{ path: 'models/manifest.yaml', from: { text, mode: 0o644 } }, ...once.values()];
}

/** Each `file` with its `sha256`, and each `thumbnail`, at any depth. */
function filesNamedIn(tree: unknown): { name: string; sha256?: string }[] {
  if (typeof tree !== 'object' || tree === null) return [];
  const below = Object.values(tree).flatMap(filesNamedIn);
  const { file, sha256, thumbnail } = tree as { file?: unknown; sha256?: unknown; thumbnail?: unknown };
  return [
    ...(typeof file === 'string' && typeof sha256 === 'string' ? [{ name: file, sha256 }] : []),
    ...(typeof thumbnail === 'string' ? [{ name: thumbnail }] : []),
    ...below,
  ];
}

function insideOnly(name: string): string {
  if (
    name.startsWith('/') ||
    name.split(/[\\/]/).some((part) => part === '..' || part === '.' || part === '')
  )
    throw new Error(`${name} lies outside of its folder`);
  return name;
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
