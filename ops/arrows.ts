// Which room may import which, and what a module that calls itself Pure may not touch. Decides over texts that it is
// given; ops/check-arrows.ts reads them. Pure.

/** One source file. */
export interface Source {
  /** Relative to the package, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** One import that runs against an arrow, or one thing that a Pure module may not do. */
export interface Fault {
  readonly path: string;
  readonly line: number;
  readonly sentence: string;
}

type Room = 'config' | 'process' | 'server' | 'balancer' | 'loadtest' | 'agent' | 'ops' | 'e2e' | 'docs';

/** The arrows of docs/architecture.md: a room imports from itself and from these. */
const MAY_IMPORT: Readonly<Record<Room, readonly Room[]>> = {
  config: [],
  process: ['config'],
  server: ['config', 'process'],
  balancer: ['config', 'process'],
  loadtest: ['config', 'process'],
  agent: ['config', 'process'],
  ops: ['config', 'process'],
  e2e: ['config', 'process', 'ops'],
  docs: ['config', 'process'],
};

/** The one file that loads rooms by command, lazily. */
const LAZY = 'ops/cli.ts';

/** Node's modules that reach nothing outside the process. */
const HARMLESS = new Set([
  'node:assert',
  'node:assert/strict',
  'node:buffer',
  'node:crypto',
  'node:path',
  'node:querystring',
  'node:string_decoder',
  'node:url',
  'node:util',
  // Its synchronous functions only compute.
  'node:zlib',
]);
/** What a Pure module gets as an argument instead. */
const GUEST_NAMES = [
  'process\\.\\w+',
  'Date\\.now',
  'Math\\.random',
  'performance\\.now',
  'set(?:Timeout|Interval|Immediate)',
  'fetch',
].join('|');
const GUESTS = new RegExp(`\\b(${GUEST_NAMES})\\b`, 'g');

/** All faults of a set of sources, which are the whole of the rooms. */
export function brokenArrows(sources: readonly Source[]): Fault[] {
  const pure = new Set(sources.filter(({ text }) => isPure(text)).map(({ path }) => path));
  return sources.flatMap((source) => [
    ...importsOf(source).flatMap((found) => judge(source, found, pure)),
    ...(pure.has(source.path) ? outsideWorld(source) : []),
  ]);
}

/** Whether a file's first comment says that it is Pure. */
export function isPure(text: string): boolean {
  const lines = text.replace(/^#!.*\n/, '').split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  return /\bPure\b(?! but)/.test(lines.slice(0, end < 0 ? undefined : end).join('\n'));
}

interface Found {
  readonly line: number;
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly lazy: boolean;
}

function judge({ path }: Source, found: Found, pure: ReadonlySet<string>): Fault[] {
  const fault = (sentence: string) => [{ path, line: found.line, sentence }];
  const { specifier } = found;
  if (specifier === 'pm2' || specifier.startsWith('pm2/'))
    return fault('imports PM2, which is AGPL-3.0 and runs as a separate program');
  if (!specifier.startsWith('.')) {
    if (pure.has(path) && specifier.startsWith('node:') && !found.typeOnly && !HARMLESS.has(specifier))
      return fault(`is Pure and imports ${specifier}`);
    return [];
  }
  const target = resolvePath(path, specifier);
  const from = roomOf(path);
  const to = roomOf(target);
  if (from === undefined || to === undefined) return [];
  if (pure.has(path) && !pure.has(target) && !found.typeOnly && !path.endsWith('.test.ts'))
    return fault(`is Pure and imports ${target}, which is not`);
  if (from === to || MAY_IMPORT[from].includes(to) || pure.has(target)) return [];
  if (path === LAZY && found.lazy) return [];
  return fault(`imports ${target}: ${from} ← ${to} runs against the arrows of docs/architecture.md`);
}

function outsideWorld({ path, text }: Source): Fault[] {
  if (path.endsWith('.test.ts')) return [];
  return [...blank(text).matchAll(GUESTS)].map((match) => ({
    path,
    line: lineAt(text, match.index),
    sentence: `is Pure and uses ${match[0]}`,
  }));
}

/** The room of a file, or undefined for one that stands outside of all. */
export function roomOf(path: string): Room | undefined {
  const [first, second] = path.split('/');
  if (first === 'ops') {
    if (second === 'process' || second === 'agent' || second === 'e2e') return second;
    return 'ops';
  }
  return first !== undefined && first in MAY_IMPORT ? (first as Room) : undefined;
}

const IMPORT =
  /(?:^|[\n;])[ \t]*(?:import|export)\b(?<type>\s+type\b)?[^'";]*?\bfrom\s*['"](?<from>[^'"]+)['"]|(?:^|[\n;])[ \t]*import\s*['"](?<bare>[^'"]+)['"]|\bimport\(\s*['"](?<lazy>[^'"]+)['"]/g;

function importsOf({ text }: Source): Found[] {
  return [...text.matchAll(IMPORT)].flatMap(({ groups, index, 0: whole }) => {
    const specifier = groups?.from ?? groups?.bare ?? groups?.lazy;
    if (specifier === undefined) return [];
    // A multi-line import is reported where its path stands.
    const line = lineAt(text, index + whole.lastIndexOf(specifier));
    return [{ line, specifier, typeOnly: groups?.type !== undefined, lazy: groups?.lazy !== undefined }];
  });
}

function resolvePath(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** The text with comments and strings blanked out, every character still where it was. */
function blank(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, (found) =>
    found.replace(/[^\n]/g, ' '),
  );
}

const lineAt = (text: string, index: number) => text.slice(0, index).split('\n').length;
