// toonfleet.yaml and the environment become frozen settings, or one message that holds every fault.
// The only file that reads process.env for settings.

import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import {
  envNameOf,
  type SettingRow,
  type Settings,
  SHORTHANDS,
  settingRows,
  settingsSchema,
} from './schema.ts';

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
      `settings file ${path}: found ${show(tree)}; allowed: settings by name, such as "balancer: {port: 8080}"`,
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
      faults.push(
        `${name}: found ${show(value, row.hidden)}; allowed: JSON, ${row.allowed}; example: ${name}='${row.example}'`,
      );
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
  if (!row) return [`${name}: found ${found}; allowed: a group of settings`];
  return [`${name}: found ${found}; allowed: ${row.allowed}; example: ${row.name}: ${row.example}`];
}

/** Settings that are each allowed but cannot stand together. */
function contradictions(settings: Settings): string[] {
  const faults: string[] = [];
  const { worker, balancer } = settings;
  if (worker.port_last < worker.port_first) {
    faults.push(
      `worker.port_last: found ${worker.port_last}; allowed: not below worker.port_first (${worker.port_first}); example: worker.port_last: ${worker.port_first + 99}`,
    );
  } else if (
    typeof worker.count === 'number' &&
    worker.port_last - worker.port_first + 1 < 2 * worker.count
  ) {
    faults.push(
      `worker.port_last: found ${worker.port_last}; allowed: at least ${worker.port_first + 2 * worker.count - 1}, since a reload holds ${worker.count} old and ${worker.count} new workers side by side; example: worker.port_last: ${worker.port_first + 2 * worker.count - 1}`,
    );
  }
  for (const field of ['name', 'sha256'] as const) {
    for (const [index, key] of balancer.api_keys.entries()) {
      const twin = balancer.api_keys.findIndex((other) => other[field] === key[field]);
      if (twin < index)
        faults.push(
          `balancer.api_keys.${index}.${field}: found what balancer.api_keys.${twin} has already; allowed: a ${field} of its own; example: toonfleet keys make ${key.name}-2`,
        );
    }
  }
  const ports: [string, number][] = [
    ['balancer.port', balancer.port],
    ['balancer.admin_port', balancer.admin_port],
    ['worker.shared_port', worker.shared_port],
    ['agent.port', settings.agent.port],
  ];
  const { tls } = balancer;
  if (tls.cert_file !== '') ports.push(['balancer.tls.port', tls.port]);
  for (const [index, [name, port]] of ports.entries()) {
    const twin = ports.slice(0, index).find(([, other]) => other === port && port !== 0);
    if (twin)
      faults.push(
        `${name}: found ${port}, which ${twin[0]} has already; allowed: a port of its own; example: ${name}: ${port + 1}`,
      );
    if (port !== 0 && port >= worker.port_first && port <= worker.port_last) {
      faults.push(
        `${name}: found ${port}, which lies among the worker ports ${worker.port_first}-${worker.port_last}; allowed: a port outside them`,
      );
    }
  }
  faults.push(
    ...scaleContradictions(settings),
    ...tlsContradictions(settings),
    ...alertContradictions(settings),
  );
  return faults;
}

/** A channel for alerts that could never reach anybody is told at the start, not in the night when it is needed. */
function alertContradictions({ alerts: { relay } }: Settings): string[] {
  const { hook, sms } = relay;
  const faults: string[] = [];
  const [program] = hook;
  if (program !== undefined && !program.startsWith('/'))
    faults.push(
      `alerts.relay.hook: found ${show(program)}; allowed: an absolute path first; example: alerts.relay.hook: ["/etc/toonfleet/scale-out"]`,
    );
  const needed = {
    none: [],
    http: ['url', 'phones'],
    aliyun: ['phones', 'key_id', 'key_secret', 'sign', 'template'],
    tencent: ['phones', 'key_id', 'key_secret', 'sign', 'template', 'app'],
  } as const;
  for (const name of needed[sms.provider]) {
    // Who does not read its file does not know it either.
    const value = name === 'key_secret' ? (sms.key_secret ?? sms.key_secret_file) : sms[name];
    if (value.length === 0)
      faults.push(
        `alerts.relay.sms.${name}: found nothing; allowed: what alerts.relay.sms.provider: ${sms.provider} needs; example: ${name === 'key_secret' ? 'TOONFLEET_ALERTS__RELAY__SMS__KEY_SECRET' : 'see toonfleet config docs'}`,
      );
  }
  return faults;
}

function scaleContradictions({ worker }: Settings): string[] {
  const { min, max } = worker.scale;
  if (max === 'auto') return [];
  const faults: string[] = [];
  if (max < min)
    faults.push(
      `worker.scale.max: found ${max}; allowed: not below worker.scale.min (${min}); example: worker.scale.max: ${min}`,
    );
  const ports = worker.port_last - worker.port_first + 1;
  if (worker.scale.enabled && ports >= 2 && ports < 2 * max)
    faults.push(
      `worker.scale.max: found ${max}; allowed: at most ${Math.floor(ports / 2)}, since a reload holds twice as many workers and the ports from worker.port_first to worker.port_last are ${ports}; example: worker.port_last: ${worker.port_first + 2 * max - 1}`,
    );
  return faults;
}

function tlsContradictions({ balancer: { tls } }: Settings): string[] {
  const needs = (name: string, found: unknown, needed: string) =>
    `balancer.tls.${name}: found ${show(found)} without balancer.tls.${needed}; allowed: both or none; example: balancer.tls.${needed}: /etc/toonfleet/${needed === 'key_file' ? 'privkey' : 'fullchain'}.pem`;
  if (tls.cert_file !== '') return tls.key_file === '' ? [needs('cert_file', tls.cert_file, 'key_file')] : [];
  const faults: string[] = [];
  if (tls.key_file !== '') faults.push(needs('key_file', tls.key_file, 'cert_file'));
  if (tls.redirect) faults.push(needs('redirect', true, 'cert_file'));
  if (tls.hsts > 0) faults.push(needs('hsts', `${tls.hsts}ms`, 'cert_file'));
  return faults;
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

const localAgent = ({ agent }: Settings) =>
  `http://${agent.host === '0.0.0.0' ? '127.0.0.1' : agent.host}:${agent.port}`;

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

function show(value: unknown, secret = false): string {
  if (value === undefined) return 'nothing';
  if (secret) return 'a value that does not fit';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
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
