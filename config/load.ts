// toonfleet.yaml and the environment become frozen settings, or one message that holds every fault.
// The only file that reads process.env for settings.

import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { reachable } from './reachable.ts';
import {
  contradictions,
  envNameOf,
  type SettingRow,
  type Settings,
  SHORTHANDS,
  settingRows,
  settingsSchema,
} from './schema.ts';
import { fault, show } from './settings/fault.ts';

/** The exit code of a start that wrong settings stop (EX_CONFIG of sysexits.h). */
export const EXIT_CONFIG = 78;

/** All that is wrong with the settings, each fault a line that names the setting, what was found and what is allowed. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(
      `${faults.length === 1 ? 'One setting is' : `${faults.length} settings are`} wrong:\n${faults.map((f) => `  - ${f}`).join('\n')}`,
    );
    this.faults = faults;
  }
}

/** Where settings may come from; the defaults are this process's own. */
export interface SettingsSources {
  /** The file named by `--config`. */
  readonly file?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Whether the relay's secret files are read too; no other process needs them, or may be able to. */
  readonly alertSecrets?: boolean;
}

/** Settings with folders made absolute and the node named. */
export interface LoadedSettings extends Settings {
  /** The file that was read, if any. */
  readonly source: string | undefined;
  /** Which of its app's processes on this machine this one is, from 0, as PM2 counts them. */
  readonly instance: number;
}

type Tree = { [key: string]: unknown };

/**
 * Reads the settings: defaults, under the file (`--config`, `TOONFLEET_CONFIG`, `./toonfleet.yaml`), under the
 * environment (`TOONFLEET_BALANCER__PORT=8081`; lists as JSON).
 * @throws {SettingsError} with every fault at once.
 */
export function loadSettings(sources: SettingsSources = {}): LoadedSettings {
  const env = sources.env ?? process.env;
  const cwd = sources.cwd ?? process.cwd();
  const faults: string[] = [];
  const rows = new Map(settingRows().map((row) => [row.name, row]));

  const named = sources.file ?? env.TOONFLEET_CONFIG;
  const { tree, path } = readFile(named, cwd, faults);
  expandShorthands(tree);
  refuseSecrets(tree, rows, path, faults);
  overlayEnvironment(tree, env, rows, faults);
  const secrets = [...rows.values()].filter(
    ({ name, secret }) => secret && (sources.alertSecrets === true || !name.startsWith('alerts.')),
  );
  readSecretFiles(tree, cwd, secrets, faults);

  const parsed = settingsSchema.safeParse(tree);
  if (!parsed.success)
    faults.push(...parsed.error.issues.flatMap((issue) => describeIssue(issue, tree, rows)));
  else faults.push(...contradictions(parsed.data));
  if (faults.length > 0 || !parsed.success) throw new SettingsError(faults);
  const instance = Number(env.NODE_APP_INSTANCE ?? 0) || 0;
  return deepFreeze({ ...complete(parsed.data, cwd, env), source: path, instance });
}

function readFile(
  named: string | undefined,
  cwd: string,
  faults: string[],
): { tree: Tree; path: string | undefined } {
  const path = resolve(cwd, named ?? 'toonfleet.yaml');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (named !== undefined)
      faults.push(`settings file ${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
    return { tree: {}, path: undefined };
  }
  try {
    const tree: unknown = parseYaml(text, { maxAliasCount: 10 }) ?? {};
    if (isTree(tree)) return { tree, path };
    faults.push(
      fault(`settings file ${path}`, show(tree), 'settings by name, such as "balancer: {port: 8080}"'),
    );
  } catch (error) {
    faults.push(`settings file ${path}: not YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  return { tree: {}, path };
}

/** `balancer: {cache: true}` as `balancer: {cache: {enabled: true}}`. */
function expandShorthands(tree: Tree): void {
  for (const [group, name] of Object.entries(SHORTHANDS)) {
    const value = readPath(tree, group);
    if (typeof value === 'boolean') writePath(tree, name, value);
  }
}

function refuseSecrets(
  tree: Tree,
  rows: Map<string, SettingRow>,
  path: string | undefined,
  faults: string[],
): void {
  for (const row of rows.values()) {
    if (row.secret && path && readPath(tree, row.name) !== undefined) {
      faults.push(
        `${row.name}: is a secret and does not belong in ${path}; set ${envNameOf(row.name)} or ${row.name}_file (a file with mode 0600)`,
      );
    }
  }
}

/** Environment names that mean something else than a setting. */
const NOT_SETTINGS = new Set(['TOONFLEET_CONFIG', 'TOONFLEET_TEST_ASSETS', 'TOONFLEET_ROLE']);

function overlayEnvironment(
  tree: Tree,
  env: Readonly<Record<string, string | undefined>>,
  rows: Map<string, SettingRow>,
  faults: string[],
): void {
  const byEnvName = new Map([...rows.values()].map((row) => [envNameOf(row.name), row]));
  for (const [group, name] of Object.entries(SHORTHANDS)) {
    const row = rows.get(name);
    if (row) byEnvName.set(envNameOf(group), row);
  }
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('TOONFLEET_') || NOT_SETTINGS.has(name) || value === undefined) continue;
    const row = byEnvName.get(name);
    if (!row) {
      faults.push(`${name}: there is no such setting${nearest(name, [...byEnvName.keys()])}`);
      continue;
    }
    const parsed = parseEnvValue(value, row);
    if (parsed === undefined)
      faults.push(fault(name, show(value, row.hidden), `JSON, ${row.allowed}`, `${name}='${row.example}'`));
    else writePath(tree, row.name, parsed);
  }
}

function parseEnvValue(value: string, row: SettingRow): unknown {
  switch (row.kind) {
    case 'number':
    case 'auto-number':
      return /^-?\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : value;
    case 'boolean':
      return value === 'true' ? true : value === 'false' ? false : value;
    case 'list':
      try {
        return JSON.parse(value) as unknown;
      } catch {
        return undefined;
      }
    case 'string':
    case 'enum':
    case 'duration':
    case 'size':
      return value;
  }
}

function readSecretFiles(tree: Tree, cwd: string, rows: readonly SettingRow[], faults: string[]): void {
  for (const row of rows) {
    const file = readPath(tree, `${row.name}_file`);
    if (typeof file !== 'string' || file === '' || readPath(tree, row.name) !== undefined) continue;
    const path = resolve(cwd, file);
    try {
      const mode = statSync(path).mode & 0o777;
      if ((mode & 0o077) !== 0) {
        faults.push(
          `${row.name}_file: ${path} has mode 0${mode.toString(8)}; allowed: 0600 (chmod 600 ${path})`,
        );
        continue;
      }
      writePath(tree, row.name, readFileSync(path, 'utf8').trim());
    } catch (error) {
      faults.push(`${row.name}_file: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
  }
}

function describeIssue(issue: z.core.$ZodIssue, tree: Tree, rows: Map<string, SettingRow>): string[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    const known = [...rows.keys()];
    return issue.keys.map((key) => {
      const name = [...path, key].join('.');
      return `${name}: there is no such setting${nearest(name, known)}`;
    });
  }
  const leaf = path.map((_, end) => path.slice(0, end + 1).join('.')).find((name) => rows.has(name));
  const row = leaf === undefined ? undefined : rows.get(leaf);
  const name = path.join('.');
  const found = show(readPath(tree, name), row?.secret || row?.hidden);
  if (!row) return [fault(name, found, 'a group of settings')];
  return [fault(name, found, row.allowed, `${row.name}: ${row.example}`)];
}

function complete(
  settings: Settings,
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): Settings {
  const dataDir = resolve(cwd, settings.data_dir);
  const within = (dir: string, fallback: string) =>
    dir === '' ? join(dataDir, fallback) : resolve(cwd, dir);
  return {
    ...settings,
    data_dir: dataDir,
    node: { ...settings.node, name: settings.node.name || nodeNameOf(hostname()) },
    nodes:
      settings.nodes.length + settings.upstreams.length > 0
        ? settings.nodes
        : [{ agent: localAgent(settings) }],
    balancer: {
      ...settings.balancer,
      tls: {
        ...settings.balancer.tls,
        cert_file: absolute(settings.balancer.tls.cert_file, cwd),
        key_file: absolute(settings.balancer.tls.key_file, cwd),
        acme_dir: absolute(settings.balancer.tls.acme_dir, cwd),
      },
    },
    nginx: {
      ...settings.nginx,
      dir: resolve(cwd, settings.nginx.dir),
      log_dir: resolve(cwd, settings.nginx.log_dir),
    },
    models: {
      ...settings.models,
      dir: within(settings.models.dir, 'models'),
      proxy: settings.models.proxy || env.HTTPS_PROXY || env.https_proxy || '',
    },
    backup: { ...settings.backup, dir: within(settings.backup.dir, 'backup') },
    results: { ...settings.results, dir: within(settings.results.dir, 'results') },
  };
}

/** A path made absolute; empty stays empty. */
const absolute = (path: string, cwd: string) => (path === '' ? '' : resolve(cwd, path));

const localAgent = ({ agent }: Settings) => `http://${reachable(agent.host)}:${agent.port}`;

/** A host name as a node name: lower case, only letters, digits and dashes, at most 39 characters. */
export function nodeNameOf(host: string): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 39)
    .replace(/-+$/, '');
  return name || 'node';
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readPath(tree: unknown, name: string): unknown {
  return name.split('.').reduce<unknown>((value, key) => {
    if (isTree(value)) return Object.hasOwn(value, key) ? value[key] : undefined;
    return Array.isArray(value) ? value[Number(key)] : undefined;
  }, tree);
}

function writePath(tree: Tree, name: string, value: unknown): void {
  const keys = name.split('.');
  const last = keys.pop() ?? name;
  let room = tree;
  for (const key of keys) {
    const next = room[key];
    if (isTree(next)) {
      room = next;
    } else {
      const fresh: Tree = {};
      room[key] = fresh;
      room = fresh;
    }
  }
  room[last] = value;
}

function nearest(name: string, known: readonly string[]): string {
  const scored = known
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best && best.distance <= Math.max(2, name.length / 4)
    ? `; did you mean ${best.other}?`
    : '; see: toonfleet config docs';
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(substitute, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

function deepFreeze<T extends object>(value: T): T {
  for (const child of Object.values(value))
    if (typeof child === 'object' && child !== null) deepFreeze(child as object);
  return Object.freeze(value);
}
