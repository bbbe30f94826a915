// One JSON line an event, on stdout. Made once in a composition root and passed on; nobody else knows pino.

import { pino } from 'pino';

/** What a part of a process may log with. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A log whose lines carry the process's role. `error` in the fields is written with its stack and causes. */
export function createLog(role: string, level: string): Log {
  return pino({
    level,
    base: { role, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
    messageKey: 'message',
  });
}

/** A log that says nothing, for tests. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
