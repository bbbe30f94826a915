// Reads one whole upload: within its size, at no less than the least rate, in time, and within the memory for all.
// No slot is held meanwhile. Knows nothing of what the bytes mean; `form.ts` does.

import type { IncomingMessage } from 'node:http';
import { ToonError } from '../config/errors.ts';
import { formatDuration, formatSize } from '../config/units.ts';
import type { BufferBudget } from './budget.ts';

export interface UploadLimits {
  readonly maxBytes: number;
  /** How long the whole upload may take. */
  readonly timeoutMs: number;
  /** Bytes a second over the last {@link RATE_WINDOW_S} seconds. */
  readonly minRate: number;
}

/** An upload under way. */
export interface Upload {
  /** The whole body; rejects with `upload_too_large`, `upload_too_slow`, `overloaded` or `client_gone`. */
  readonly body: Promise<Buffer>;
  /** The client is gone. */
  cancel(): void;
  /** Gives the memory back; to be called once nobody needs the body any more, after a failure too. */
  release(): void;
}

const RATE_WINDOW_S = 5;
/** Chunked uploads reserve memory in steps of this. */
const STEP_BYTES = 256 * 1024;

/**
 * Reads an upload.
 * @throws {ToonError} at once: `upload_too_large` by its Content-Length, `overloaded` when memory is short.
 */
export function readUpload(
  request: IncomingMessage,
  contentLength: number | undefined,
  limits: UploadLimits,
  budget: BufferBudget,
): Upload {
  const tooLarge = () =>
    new ToonError('upload_too_large', { detail: `At most ${formatSize(limits.maxBytes)} may be sent here.` });
  const noMemory = () =>
    new ToonError(
      'overloaded',
      {
        detail: 'Too many uploads are in passing at the moment.',
        retryAfterMs: 1000,
      },
      { cause: 'memory' },
    );
  if ((contentLength ?? 0) > limits.maxBytes) throw tooLarge();
  let reserved = contentLength ?? 0;
  if (!budget.take(reserved)) throw noMemory();
  const release = () => {
    budget.give(reserved);
    reserved = 0;
  };

  let cancel = () => {};
  const body = new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const marks: number[] = [];

    const stop = () => {
      clearTimeout(timeout);
      clearInterval(pulse);
      request.off('data', onData);
      request.off('end', onEnd);
      request.off('error', onGone);
      request.off('close', onGone);
    };
    const fail = (error: ToonError) => {
      stop();
      reject(error);
    };
    const onGone = () => fail(new ToonError('client_gone'));
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limits.maxBytes) return fail(tooLarge());
      if (bytes > reserved) {
        const step = Math.max(STEP_BYTES, bytes - reserved);
        if (!budget.take(step)) return fail(noMemory());
        reserved += step;
      }
      chunks.push(chunk);
    };
    const onEnd = () => {
      stop();
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes));
    };
    const timeout = setTimeout(
      () =>
        fail(
          new ToonError('upload_too_slow', {
            detail: `The upload was not whole after ${formatDuration(Math.round(limits.timeoutMs))}.`,
          }),
        ),
      Math.max(1, limits.timeoutMs),
    );
    const pulse = setInterval(() => {
      marks.push(bytes);
      if (marks.length <= RATE_WINDOW_S) {
        // The first window starts at zero bytes.
        if (marks.length < RATE_WINDOW_S || bytes >= limits.minRate * RATE_WINDOW_S) return;
      } else if (bytes - (marks.shift() ?? 0) >= limits.minRate * RATE_WINDOW_S) return;
      fail(
        new ToonError('upload_too_slow', {
          detail: `Less than ${formatSize(limits.minRate)} a second came over ${RATE_WINDOW_S} s.`,
        }),
      );
    }, 1000);

    request.on('data', onData);
    request.on('end', onEnd);
    request.on('error', onGone);
    request.on('close', onGone);
    cancel = onGone;
  });
  return { body, cancel: () => cancel(), release };
}
