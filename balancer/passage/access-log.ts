// One JSON line a request: what was asked, how it ended, where its time went, which workers had it.

import type { ErrorCode } from '../../config/errors.ts';
import type { Log } from '../../ops/process/log.ts';
import type { Priority } from '../schedule/queue.ts';
import type { Outcome } from './forward.ts';

/** One attempt as it is told in the log. */
export interface AttemptLine {
  readonly upstream: string;
  readonly node: string | undefined;
  /** How it ended: `answer`, `busy`, `draining`, `lost:<phase>`, `timeout`, `rubbish`. */
  readonly end: string;
  /** Until the connection had the request; next to nothing on a kept one. */
  readonly connect_ms: number | undefined;
  readonly ms: number;
  /** Why it was no answer, where the end alone does not tell. */
  readonly why: string | undefined;
}

/** The timeline of one request; filled in on its way. */
export interface AccessLine {
  readonly request_id: string;
  readonly method: string;
  readonly path: string;
  readonly route: string;
  /** The client's address, behind trusted proxies. */
  readonly client: string;
  /** The other end of the connection, when that is a proxy. */
  readonly peer: string | undefined;
  /** The name of its API key. */
  readonly key: string | undefined;
  readonly status: number;
  readonly code: ErrorCode | undefined;
  /** How it ended, in two letters (`termination.ts`). */
  readonly end: string;
  readonly client_gone: boolean;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly style: string | undefined;
  /** What the response cache did: hit, miss or bypass. */
  readonly cache: string | undefined;
  /** How many stood before it when it joined the line; left out when it had not to wait. */
  readonly queue_position: number | undefined;
  /** Left out for live users. */
  readonly priority: Priority | undefined;
  readonly ms: {
    readonly upload: number | undefined;
    readonly queue: number | undefined;
    readonly connect: number | undefined;
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
    attempts:
      attempts.length > 0
        ? attempts.map((a) => ({
            ...a,
            connect_ms: a.connect_ms === undefined ? undefined : round(a.connect_ms),
            ms: round(a.ms),
          }))
        : undefined,
  };
  if (alarm) log.error({ ...fields, error }, 'request');
  else log.info(fields, 'request');
}

/** One attempt's line from how it ended. */
export function attemptLine(
  { id, node }: { readonly id: string; readonly node: string | undefined },
  outcome: Outcome,
  connectMs: number | undefined,
  ms: number,
): AttemptLine {
  return {
    upstream: id,
    node,
    end: outcome.kind === 'lost' ? `lost:${outcome.phase}` : outcome.kind,
    connect_ms: connectMs,
    ms,
    why: whyOf(outcome),
  };
}

function whyOf(outcome: Outcome): string | undefined {
  switch (outcome.kind) {
    case 'lost':
      return outcome.cause instanceof Error ? outcome.cause.message.slice(0, 200) : undefined;
    case 'rubbish':
      return outcome.why;
    case 'answer':
      return outcome.status >= 500 ? `status ${outcome.status}` : undefined;
    case 'busy':
    case 'draining':
    case 'timeout':
      return undefined;
  }
}

const round = (ms: number) => Math.round(ms * 10) / 10;
