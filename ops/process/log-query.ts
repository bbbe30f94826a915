// Which lines of a log somebody wants, and when each was written. Pure.

import { type LogEntry, type LogLevel, type LogQuery, logLevels } from '../../config/contract.ts';

/** The part of a query that a line is judged by. */
export type LineWish = Pick<LogQuery, 'request' | 'level'>;

/** Longer lines are cut: a stack of stacks is worth no more. */
const LINE_CHARS = 32_768;

const TIME = /"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"/;
const LEVEL = /"level":"(debug|info|warn|error)"/;

/** When a line says that it was written, ms since 1970; undefined for one that is no event of ours. */
export function timeOf(text: string): number | undefined {
  const found = text.startsWith('{') ? TIME.exec(text)?.[1] : undefined;
  return found === undefined ? undefined : Date.parse(found);
}

/** Whether a line is wanted. Our own lines begin with level and time, which a client's words can never come before. */
export function isWanted(text: string, { request, level }: LineWish): boolean {
  if (text.trim() === '' || text.startsWith('Reloading log')) return false;
  if (request !== undefined) return isOfRequest(text, request);
  return logLevels.indexOf(levelOf(text)) >= logLevels.indexOf(level);
}

/** A line as it is handed on. */
export function entryOf(app: LogEntry['app'], at: number, text: string): LogEntry {
  return { at, app, text: text.length > LINE_CHARS ? `${text.slice(0, LINE_CHARS)}…` : text };
}

function levelOf(text: string): LogLevel {
  const found = text.startsWith('{') ? LEVEL.exec(text)?.[1] : undefined;
  return (found as LogLevel | undefined) ?? 'error';
}

function isOfRequest(text: string, id: string): boolean {
  if (!text.includes(id)) return false;
  try {
    return (JSON.parse(text) as { request_id?: unknown } | null)?.request_id === id;
  } catch {
    return false;
  }
}
