// Asks agents and workers small questions: one request on a connection of its own, a JSON answer of bounded size, in time.
// Pictures go through `forward.ts`.

import http from 'node:http';
import https from 'node:https';
import type { Target } from '../passage/forward.ts';

/** What came of a question. */
export type Asked =
  | { readonly kind: 'answer'; readonly status: number; readonly body: unknown }
  /** Nobody listens there, or the connection was reset. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'failed'; readonly why: string };

export type Ask = (
  target: Target,
  path: string,
  headers: Readonly<Record<string, string>>,
  timeoutMs: number,
  /** GET by default; the others tell an agent to do something. */
  method?: 'GET' | 'PUT' | 'DELETE',
) => Promise<Asked>;

const MAX_BYTES = 1024 * 1024;
const REFUSALS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE']);

/** Asks; never rejects. The time covers everything, the connection too. */
export const ask: Ask = (target, path, headers, timeoutMs, method = 'GET') =>
  new Promise((resolve) => {
    const request = (target.protocol === 'https:' ? https : http).request({
      method,
      hostname: target.hostname,
      port: target.port,
      path,
      headers,
      agent: false,
    });
    const settle = (asked: Asked) => {
      clearTimeout(timer);
      resolve(asked);
      request.destroy();
    };
    const timer = setTimeout(
      () => settle({ kind: 'failed', why: `no answer within ${timeoutMs} ms` }),
      timeoutMs,
    );
    request.on('error', (error: NodeJS.ErrnoException) =>
      settle(REFUSALS.has(error.code ?? '') ? { kind: 'refused' } : { kind: 'failed', why: error.message }),
    );
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_BYTES) settle({ kind: 'failed', why: `an answer of more than ${MAX_BYTES} bytes` });
        else chunks.push(chunk);
      });
      response.on('error', (error) => settle({ kind: 'failed', why: error.message }));
      response.on('end', () => {
        try {
          const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
          settle({ kind: 'answer', status: response.statusCode ?? 0, body });
        } catch {
          settle({ kind: 'failed', why: `status ${response.statusCode} without JSON` });
        }
      });
    });
    request.end();
  });

/** An origin (`http://HOST:PORT`) as a target. */
export function targetOf(origin: string): Target {
  const url = new URL(origin);
  const protocol = url.protocol === 'https:' ? 'https:' : 'http:';
  return {
    origin: url.origin,
    protocol,
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port) || (protocol === 'https:' ? 443 : 80),
  };
}

/** Why a question had no good answer, in words. */
export function whyNot(asked: Asked): string {
  switch (asked.kind) {
    case 'answer':
      return `status ${asked.status}`;
    case 'failed':
      return asked.why;
    case 'refused':
      return 'nobody listens there';
  }
}
