// GET and HEAD /v1/results/{id}: a stored picture. It never changes, so its id is its ETag and caches may keep it.

import { Readable } from 'node:stream';
import type { Middleware, ParameterizedContext } from 'koa';
import { ToonError } from '../../config/errors.ts';
import type { WorkerParts } from '../parts.ts';

/** Answers with a stored result, or a part of it. */
export function resultRoute({ results }: WorkerParts): Middleware {
  return async (ctx) => {
    const id = (ctx as ParameterizedContext & { params: { id?: string } }).params.id ?? '';
    const result = await results.get(id);
    if (!result)
      throw new ToonError('not_found', { detail: 'There is no such result, or it has been deleted.' });
    const etag = `"${id}"`;
    ctx.status = 200;
    ctx.set({
      ETag: etag,
      'Last-Modified': result.storedAt.toUTCString(),
      // Private: whoever knows the id may look, and shared caches on the way need not remember for him.
      'Cache-Control': 'private, max-age=31536000, immutable',
      'Accept-Ranges': 'bytes',
      'Content-Security-Policy': "default-src 'none'; sandbox",
    });
    ctx.type = `image/${result.kind}`;
    if (ctx.fresh) {
      ctx.status = 304;
      return;
    }
    const ifRange = ctx.get('if-range');
    // RFC 9110, 14.2: a range means something to GET alone.
    const ranged = ctx.method === 'GET' && (ifRange === '' || ifRange === etag);
    const range = ranged ? parseRange(ctx.get('range'), result.bytes) : undefined;
    if (range === 'unsatisfiable') {
      ctx.set('Content-Range', `bytes */${result.bytes}`);
      throw new ToonError('range_not_satisfiable', { detail: `The result has ${result.bytes} bytes.` });
    }
    const { start, end } = range ?? { start: 0, end: result.bytes - 1 };
    if (range) {
      ctx.status = 206;
      ctx.set('Content-Range', `bytes ${start}-${end}/${result.bytes}`);
    }
    ctx.body = ctx.method === 'HEAD' ? Readable.from([]) : result.open(start, end);
    ctx.length = end - start + 1;
  };
}

/**
 * One byte range of RFC 9110. Undefined where there is none, or one that may be passed over: another unit, several
 * ranges, or bad grammar.
 */
export function parseRange(
  header: string,
  bytes: number,
): { start: number; end: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  const [, from = '', to = ''] = match ?? [];
  if (!match || (from === '' && to === '')) return undefined;
  if (from === '') {
    const suffix = Math.min(Number(to), bytes);
    return suffix === 0 ? 'unsatisfiable' : { start: bytes - suffix, end: bytes - 1 };
  }
  const start = Number(from);
  const end = to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1);
  if (to !== '' && Number(to) < start) return undefined;
  return start >= bytes ? 'unsatisfiable' : { start, end };
}
