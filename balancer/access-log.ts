// One JSON line a request: what was asked, how it ended, where its time went, which workers had it.

import type { ErrorCode } from '../config/errors.ts';
import type { Log } from '../ops/process/log.ts';

/** One attempt as it is told in the log. */
export interface AttemptLine {
  readonly upstream: string;
  readonly node: string | undefined;
  /** How it ended: `answer`, `busy`, `draining`, `lost:<phase>`, `timeout`, `rubbish`. */
  readonly end: string;
  readonly ms: number;
}

/** The timeline of one request; filled in on its way. */
export interface AccessLine {
  readonly request_id: string;
  readonly method: string;
  readonly path: string;
  readonly route: string;
  readonly client: string | undefined;
  readonly status: number;
  readonly code: ErrorCode | undefined;
  readonly client_gone: boolean;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly style: string | undefined;
  readonly ms: {
    readonly upload: number | undefined;
    readonly queue: number | undefined;
    readonly node: number | undefined;
    readonly total: number;
  };
  readonly attempts: readonly AttemptLine[];
}

/** Writes the line; an internal error and its cause go with it as a warning or an error. */
export function writeAccessLine(log: Log, line: AccessLine, error: unknown, alarm: boolean): void {
  const { ms, attempts, ...rest } = line;
  const fields = {
    ...rest,
    // A path is a client's text: bounded, and free of control characters by llhttp and JSON.
    path: line.path.length > 200 ? `${line.path.slice(0, 197)}...` : line.path,
    ms: Object.fromEntries(
      Object.entries(ms).map(([stage, value]) => [stage, value === undefined ? undefined : round(value)]),
    ),
    attempts: attempts.length > 0 ? attempts.map((a) => ({ ...a, ms: round(a.ms) })) : undefined,
  };
  if (alarm) log.error({ ...fields, error }, 'request');
  else log.info(fields, 'request');
}

const round = (ms: number) => Math.round(ms * 10) / 10;
