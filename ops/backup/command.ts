// `toonfleet backup create|list|verify|restore|fetch|prune`: flags, words and exit codes.

import { mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { LoadedSettings } from '../../config/load.ts';
import { EXIT_USAGE, STANDARD } from '../terminal.ts';
import { BackupFault } from './fault.ts';
import { makeFolders } from './ownership.ts';
import { restore } from './restore.ts';
import { alone, backUp, placeElsewhere, prune, storeOf } from './run.ts';
import { bytesOf, type Places } from './snapshot.ts';
import { Store } from './store.ts';

const USAGE = `toonfleet backup: settings, operators' state and added models, kept for the day that they are gone

usage:
  toonfleet backup create [--secrets]
  toonfleet backup list
  toonfleet backup verify [ID|latest] [--all]
  toonfleet backup restore [ID|latest] [--from DIR] [--replace] [--dry-run]
                           [--settings FILE] [--data-dir DIR] [--models-dir DIR]
  toonfleet backup fetch [ID|latest]
  toonfleet backup prune [--dry-run]
  All take --json.

examples:
  toonfleet backup create
  toonfleet backup restore latest --from /mnt/backup --dry-run

create makes a snapshot in backup.dir, removes those that are not kept (backup.keep_*), and takes it elsewhere
(backup.offsite). Pictures, logs and what a machine makes again by itself are not in it; secrets only with --secrets.
verify compares every file with its SHA-256; --all takes every snapshot here and the last one elsewhere.
restore puts a snapshot back where it came from, or where the flags say, with nothing running. Without --replace it changes
no file that is there; with it, what it replaces stays beside as FILE.before-ID. With --from it needs no settings.
fetch brings a snapshot back from elsewhere, to be restored.

Exit code: 0 done; 1 not done, and why; 2 the command line makes no sense.`;

const FLAGS = {
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  secrets: { type: 'boolean' },
  all: { type: 'boolean' },
  from: { type: 'string' },
  replace: { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  settings: { type: 'string' },
  'data-dir': { type: 'string' },
  'models-dir': { type: 'string' },
} as const;
type Flag = keyof typeof FLAGS;
type Values = ReturnType<typeof parseArgs<{ options: typeof FLAGS }>>['values'];

const VERBS = {
  create: ['secrets'],
  list: ['from'],
  verify: ['all', 'from'],
  restore: ['from', 'replace', 'dry-run', 'settings', 'data-dir', 'models-dir'],
  fetch: [],
  prune: ['dry-run'],
} as const satisfies Record<string, readonly Flag[]>;
type Verb = keyof typeof VERBS;
/** Those that take the name of a snapshot. */
const NAMING: ReadonlySet<Verb> = new Set(['verify', 'restore', 'fetch']);

const { say, complain } = STANDARD;

/** Runs `toonfleet backup ARGS`; the answer is the exit code. Settings are read only by what needs them. */
export async function backupCommand(
  args: readonly string[],
  settings: () => LoadedSettings,
): Promise<number> {
  let parsed: { values: Values; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    return usage((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [verb = '', named, ...more] = positionals;
  if (values.help || verb === 'help') {
    say(USAGE);
    return 0;
  }
  if (!isVerb(verb)) return usage(`backup: found "${verb}"; allowed: ${Object.keys(VERBS).join(', ')}`);
  const foreign = Object.keys(values).filter(
    (flag) => flag !== 'json' && !(VERBS[verb] as readonly string[]).includes(flag),
  );
  if (foreign.length > 0) return usage(`backup ${verb} knows no --${foreign.join(' and no --')}`);
  const extra = NAMING.has(verb) ? more[0] : named;
  if (extra !== undefined) return usage(`backup ${verb}: "${extra}" is one word too many`);
  try {
    return await VERB_WORK[verb](settings, values, named);
  } catch (error) {
    if (!(error instanceof BackupFault)) throw error;
    if (values.json) say(JSON.stringify({ fault: error.message }));
    else complain(error.message);
    return 1;
  }
}

type Work = (settings: () => LoadedSettings, values: Values, named: string | undefined) => Promise<number>;

const VERB_WORK: Readonly<Record<Verb, Work>> = {
  create,
  list,
  verify,
  restore: bringBack,
  fetch,
  prune: remove,
};

async function create(settings: () => LoadedSettings, { json, secrets }: Values): Promise<number> {
  const loaded = settings();
  if (!loaded.source && !json)
    complain('There is no settings file; settings from the environment are not in a backup.');
  const { snapshot, bytes, seconds, removed } = await backUp(loaded, secrets ?? loaded.backup.secrets);
  const { id, files } = snapshot;
  if (json) {
    say(JSON.stringify({ id, bytes, seconds, files: files.length, removed }));
    return 0;
  }
  const elsewhere = loaded.backup.offsite === 'none' ? '' : `, and at ${loaded.backup.target}`;
  say(
    `snapshot ${id}: ${files.length} files, ${megabytes(bytes)}, in ${seconds.toFixed(1)} s; in ${loaded.backup.dir}${elsewhere}`,
  );
  for (const each of removed) say(`removed ${each}`);
  const left = snapshot.secrets.filter(({ present, kept }) => present && !kept);
  if (left.length > 0) say(`not in it, keep them safe elsewhere: ${left.map(({ file }) => file).join(', ')}`);
  return 0;
}

async function list(settings: () => LoadedSettings, { json, from }: Values): Promise<number> {
  const store = storeFor(settings, from);
  const rows = [];
  for (const { id } of await store.list()) {
    const snapshot = await store.read(id).catch((error: unknown) => {
      if (error instanceof BackupFault) return undefined;
      throw error;
    });
    rows.push({
      id,
      node: snapshot?.node,
      files: snapshot?.files.length,
      bytes: snapshot && bytesOf(snapshot),
    });
  }
  if (json) say(JSON.stringify(rows));
  else if (rows.length === 0) say(`no snapshots in ${store.folder}`);
  else
    for (const { id, node, files, bytes } of rows)
      say(bytes === undefined ? `${id}  (damaged)` : `${id}  ${node}  ${files} files  ${megabytes(bytes)}`);
  return 0;
}

async function verify(
  settings: () => LoadedSettings,
  { json, all, from }: Values,
  named?: string,
): Promise<number> {
  const store = storeFor(settings, from);
  const ids = all ? (await store.list()).map(({ id }) => id) : [await store.find(named)];
  const faults: string[] = [];
  for (const id of ids) faults.push(...(await store.faultsOf(id)));
  let elsewhere: string | undefined;
  if (all && from === undefined) {
    const loaded = settings();
    const place = placeElsewhere(loaded);
    if (place) {
      // Only what was brought back is known to come back.
      await makeFolders(loaded.backup.dir, 0o700);
      const temporary = new Store(await mkdtemp(join(loaded.backup.dir, 'fetched-')));
      try {
        elsewhere = await place.fetch(temporary.folder, 'latest');
        faults.push(
          ...(await temporary.faultsOf(elsewhere)).map((fault) => `${loaded.backup.target}: ${fault}`),
        );
      } finally {
        await rm(temporary.folder, { recursive: true, force: true });
      }
    }
  }
  if (json) say(JSON.stringify({ verified: ids, elsewhere, faults }));
  else if (faults.length > 0) complain(faults.join('\n'));
  else {
    say(ids.length === 0 ? `no snapshots in ${store.folder}` : `whole: ${ids.join(', ')}`);
    if (elsewhere !== undefined) say(`came back whole from elsewhere: ${elsewhere}`);
  }
  return faults.length === 0 && ids.length > 0 ? 0 : 1;
}

async function bringBack(settings: () => LoadedSettings, values: Values, named?: string): Promise<number> {
  const store = storeFor(settings, values.from);
  const id = await store.find(named);
  const places: Partial<Places> = {
    ...(values.settings === undefined ? {} : { settings: resolve(values.settings) }),
    ...(values['data-dir'] === undefined ? {} : { data_dir: resolve(values['data-dir']) }),
    ...(values['models-dir'] === undefined ? {} : { models_dir: resolve(values['models-dir']) }),
  };
  const dryRun = values['dry-run'] ?? false;
  const { steps, missingSecrets } = await restore(store, {
    id,
    places,
    replace: values.replace ?? false,
    dryRun,
  });
  if (values.json) say(JSON.stringify({ id, steps, missing_secrets: missingSecrets }));
  else {
    for (const { kind, target } of steps) say(`${kind.padEnd(8)}  ${target}`);
    for (const secret of missingSecrets)
      say(`missing   ${secret}: not in the snapshot; bring it, or make a new one`);
    say(
      dryRun
        ? `nothing was restored: --dry-run`
        : `snapshot ${id} is restored; start: toonfleet start, or systemctl start`,
    );
  }
  return 0;
}

async function fetch(settings: () => LoadedSettings, { json }: Values, named = 'latest'): Promise<number> {
  const loaded = settings();
  const place = placeElsewhere(loaded);
  if (!place) throw new BackupFault('There is no place elsewhere: backup.offsite is none.');
  const store = storeOf(loaded);
  const id = await alone(loaded, () => place.fetch(store.folder, named));
  const faults = await store.faultsOf(id);
  if (json) say(JSON.stringify({ id, faults }));
  else if (faults.length > 0) complain(faults.join('\n'));
  else say(`snapshot ${id} is here and whole: toonfleet backup restore ${id}`);
  return faults.length === 0 ? 0 : 1;
}

async function remove(settings: () => LoadedSettings, { json, 'dry-run': dryRun }: Values): Promise<number> {
  const loaded = settings();
  const going = await alone(loaded, () => prune(loaded, dryRun ?? false));
  if (json) say(JSON.stringify({ removed: going }));
  else for (const id of going) say(`${dryRun ? 'would remove' : 'removed'} ${id}`);
  return 0;
}

/** The settings' snapshots, or those of a folder: a backup.dir, or the folder of snapshots itself. */
function storeFor(settings: () => LoadedSettings, from: string | undefined): Store {
  if (from === undefined) return storeOf(settings());
  return new Store(Store.within(resolve(from)));
}

const isVerb = (word: string): word is Verb => Object.hasOwn(VERBS, word);

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function usage(sentence: string): number {
  complain(`${sentence}\nSee: toonfleet backup --help`);
  return EXIT_USAGE;
}
