// A log line as a person reads it in a terminal. Pure.

import type { LogEntry } from '../../config/contract.ts';

/** Fields that stand elsewhere in the line, or that say nothing to a person. */
const QUIET = new Set(['level', 'time', 'role', 'pid', 'message', 'error']);

/** One line: when, where, who, how bad, what, and its facts. A stack follows on lines of its own. */
export function prettyEntry(node: string, { at, app, text }: LogEntry): string {
  const event = parse(text);
  const head = `${timeText(at)}  ${node}  `;
  if (!event) return clean(`${head}${app}  |  ${text}`);
  const { level, role, message, error } = event;
  const facts = Object.entries(event)
    .filter(([name]) => !QUIET.has(name))
    .map(([name, value]) => `${name}=${shown(value)}`);
  const words = [`${head}${word(role) || app}`, word(level).toUpperCase().padEnd(5), word(message), ...facts];
  const first = clean(words.join('  ')).replaceAll('\n', '?');
  const stack = stackOf(error);
  return stack === undefined ? first : `${first}\n${indent(stack)}`;
}

/** UTC, as the lines themselves say it. */
function timeText(at: number): string {
  return at === 0 ? '-'.padEnd(23) : new Date(at).toISOString().replace('T', ' ').slice(0, 23);
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const word = (value: unknown) => (typeof value === 'string' ? value : '');

function shown(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map(shown).join(' ')}]`;
  const fields = Object.entries(value).map(([name, each]) => `${name}:${shown(each)}`);
  return `{${fields.join(' ')}}`;
}

function stackOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { stack, message } = error as { stack?: unknown; message?: unknown };
  const text = typeof stack === 'string' ? stack : typeof message === 'string' ? message : undefined;
  return text === undefined ? undefined : clean(text);
}

const indent = (text: string) => text.replace(/^/gm, '    ');

/** Without control characters: a client's words must not move the cursor of the terminal that shows them. */
export function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
}
