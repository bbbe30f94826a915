// What became of one request, and what kind of ending that is. Pure.

import type { Timings } from '../config/contract.ts';

/** The endings that a report tells apart. */
export const endings = [
  /** A picture came back. */
  'ok',
  /** 503: refused or dropped for load. Under overload a fair server does this fast and says when to come back. */
  'shed',
  /** 429: a rate limit. */
  'limited',
  /** Any other status that is no success, or no answer at all. */
  'failed',
  /** A success that carries no picture, or the wrong one. */
  'wrong',
] as const;
export type Ending = (typeof endings)[number];

/** One answer, as far as the load test looks at it. */
export interface Answer {
  readonly status: number;
  readonly contentType: string | undefined;
  /** Bytes of the body. */
  readonly bytes: number;
  /** The body, when it was asked for. */
  readonly body: Buffer | undefined;
  readonly timings: Timings;
  readonly cache: string | undefined;
  readonly model: string | undefined;
  readonly node: string | undefined;
}

/** No answer: the connection failed, or the client's patience ended. */
export interface NoAnswer {
  readonly status: 0;
  /** A stable word for the report: `refused`, `reset`, `timeout`, `dns`, `tls`, `network`. */
  readonly reason: 'refused' | 'reset' | 'timeout' | 'dns' | 'tls' | 'network';
  readonly detail: string;
}

/** One request from its due moment to its end; all moments in ms from the start of its step. */
export interface Outcome {
  readonly dueMs: number;
  readonly sentMs: number;
  readonly doneMs: number;
  readonly ending: Ending;
  /** A word for the report: `503`, `timeout`, `not a picture`; empty for `ok`. */
  readonly reason: string;
  readonly bytes: number;
  readonly timings: Timings;
  readonly cacheHit: boolean;
}

/** Judges what came back, without looking into the picture. */
export function endingOf(result: Answer | NoAnswer): { ending: Ending; reason: string } {
  if (!('bytes' in result)) return { ending: 'failed', reason: result.reason };
  const { status, contentType, bytes } = result;
  if (status === 503) return { ending: 'shed', reason: '503' };
  if (status === 429) return { ending: 'limited', reason: '429' };
  if (status < 200 || status > 299) return { ending: 'failed', reason: String(status) };
  if (!/^image\/(png|jpeg|webp)\b/.test(contentType ?? ''))
    return { ending: 'wrong', reason: `${status} with ${contentType ?? 'no content type'}` };
  if (bytes === 0) return { ending: 'wrong', reason: 'empty picture' };
  return { ending: 'ok', reason: '' };
}

/** Node's error codes as words for the report. */
export function noAnswer(error: NodeJS.ErrnoException): NoAnswer {
  const code = error.code ?? '';
  const reason = /^ECONNREFUSED$/.test(code)
    ? 'refused'
    : /^(ECONNRESET|EPIPE|ERR_STREAM_PREMATURE_CLOSE)$/.test(code)
      ? 'reset'
      : /^(ETIMEDOUT|ERR_TIMEOUT)$/.test(code)
        ? 'timeout'
        : /^(ENOTFOUND|EAI_AGAIN)$/.test(code)
          ? 'dns'
          : /CERT|TLS|SSL|SIGNED|EPROTO/.test(code)
            ? 'tls'
            : 'network';
  return { status: 0, reason, detail: code === '' ? error.message : `${code}: ${error.message}` };
}
