// What goes to a client and how: a worker's headers by allow-list, our own on top, refusals that are not lost in a reset.
// Knows nothing of pools or queues.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { HEADERS } from '../../config/contract.ts';
import { readPictureHeader } from '../../config/picture.ts';

/** An answer that is whole. */
export interface WholeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | string;
}

/** Headers of a worker's answer that a client gets; every other one stays behind. */
const PASSED_RESPONSE_HEADERS = [
  'content-type',
  'content-disposition',
  'content-language',
  'content-range',
  'content-security-policy',
  'cross-origin-resource-policy',
  'x-content-type-options',
  'accept-ranges',
  'cache-control',
  'etag',
  'last-modified',
  'retry-after',
  'allow',
  'vary',
  HEADERS.style,
  HEADERS.model,
  HEADERS.effort,
  HEADERS.faces,
  HEADERS.node,
] as const;

/** A worker's headers as far as a client gets them. */
export function passedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_RESPONSE_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') passed[name] = value;
  }
  return passed;
}

/**
 * What is wrong with a picture that a worker sent, as far as its first bytes tell; undefined when nothing is. A worker
 * whose disk or memory is broken may answer 200 with anything.
 */
export function faultOfPicture(headers: IncomingHttpHeaders, body: Uint8Array): string | undefined {
  const said = /^image\/([a-z]+)/.exec(headers['content-type'] ?? '')?.[1];
  if (said === undefined) return undefined;
  if (body.length === 0) return 'a picture without a byte';
  try {
    const { kind } = readPictureHeader(body);
    return kind === said ? undefined : `a ${kind} picture that is called image/${said}`;
  } catch {
    return `bytes that are no picture, called image/${said}`;
  }
}

/** The longest answer that is taken from a worker: a PNG of the largest side, as base64 in JSON, with room for the rest. */
export function maxAnswerBytes(maxSide: number): number {
  return Math.ceil((maxSide * maxSide * 4 * 4) / 3) + 1024 * 1024;
}

/** A reader who takes an answer slower than this is cut, after a grace. */
const READ_MIN_BYTES_S = 8 * 1024;
const READ_GRACE_MS = 20_000;
/**
 * One who takes nothing at all is cut after this, or each unread answer of some MB would be kept for minutes. Node's socket
 * timeout counts every part that the kernel takes as life; on a slow line it takes them some seconds apart.
 */
export const READ_STALL_MS = 30_000;

/** Writes an answer and watches that it is read. For HEAD the body is left out and its length kept. */
export function sendAnswer(
  response: ServerResponse,
  { status, headers, body }: WholeAnswer,
  head: boolean,
): void {
  if (response.destroyed) return;
  const bytes = Buffer.byteLength(body);
  const fields: Record<string, string | number> = { ...headers };
  if (status !== 204 && status !== 304) fields['content-length'] ??= bytes;
  response.writeHead(status, fields);
  if (head || status === 204 || status === 304) {
    response.end();
    return;
  }
  response.end(body);
  if (response.writableFinished) return;
  // Nobody listens for its end, so Node closes the connection; once the answer is read, the keep-alive's own is set.
  response.setTimeout(READ_STALL_MS);
  const slow = setTimeout(() => response.destroy(), READ_GRACE_MS + (bytes / READ_MIN_BYTES_S) * 1000);
  slow.unref();
  response.once('close', () => clearTimeout(slow));
}

/**
 * How much of a refused body is read and thrown away before the connection is closed, and for how long. Enough that a
 * client which only reads after it has written all (most HTTP libraries) still finds its answer behind a photo of
 * twice the limit.
 */
const DRAIN_BYTES = 64 * 1024 * 1024;
const DRAIN_MS = 2000;

/**
 * Refuses a request whose body is still coming: the whole answer at once, then a bounded part of the body is read, then
 * the connection is closed. Closed at once, the kernel would answer the client's bytes with a reset, and a reset makes
 * a client's kernel throw away an answer that was not read yet.
 */
export function sendEarlyRefusal(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: WholeAnswer,
): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    ...headers,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  response.write(body);
  let drained = 0;
  const finish = () => {
    clearTimeout(timer);
    request.off('data', onData);
    response.end();
  };
  const onData = (chunk: Buffer) => {
    drained += chunk.length;
    if (drained > DRAIN_BYTES) {
      request.pause();
      finish();
    }
  };
  const timer = setTimeout(finish, DRAIN_MS);
  response.once('close', () => clearTimeout(timer));
  request.on('error', () => {});
  request.on('data', onData);
  request.on('end', finish);
}
