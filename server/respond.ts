// The one exit: a drawn picture or a failure becomes status, headers and body in the shape that was asked for.
// Also the one place that knows how to answer before a request has been read to its end.

import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { Context } from 'koa';
import {
  formatServerTiming,
  HEADERS,
  type ImageResult,
  modelHeader,
  PATHS,
  type PredictResult,
  type Timings,
  type TransformResult,
} from '../config/contract.ts';
import { type Effort, effortHeader } from '../config/effort.ts';
import { errorShapeOf, renderError, type ToonError } from '../config/errors.ts';
import type { ImageRequest } from '../config/image-request.ts';
import { exchangeOf } from './exchange.ts';
import type { InstalledStyle } from './model/styles.ts';
import type { Drawn } from './pipeline/pipeline.ts';

/** A drawn picture with all that an answer tells about it. */
export interface Result {
  readonly drawn: Drawn;
  readonly request: ImageRequest;
  /** The style that was drawn. */
  readonly style: InstalledStyle;
  /** What was spared. */
  readonly effort: Effort;
  readonly timings: Timings;
  /** Its id in the store; undefined for shapes that are not stored. */
  readonly id: string | undefined;
}

/** Answers with a picture in the shape that was asked for. */
export function respondResult(ctx: Context, result: Result): void {
  const { drawn, request, style, effort, timings } = result;
  ctx.status = 200;
  ctx.set(HEADERS.serverTiming, formatServerTiming(timings));
  ctx.set(HEADERS.style, style.id);
  ctx.set(HEADERS.model, modelHeader(style.model.sha256, style.model.variant));
  ctx.set(HEADERS.effort, effortHeader(effort));
  if (drawn.faces !== undefined) ctx.set(HEADERS.faces, String(drawn.faces));
  // An auto answer depends on the load of the moment, so nobody may keep it for the next one.
  ctx.set('Cache-Control', request.effort === 'auto' ? 'no-store' : 'private, no-cache');
  if (ctx.path === PATHS.images) ctx.vary('Accept');
  const body = bodyOf(result);
  if (Buffer.isBuffer(body)) {
    ctx.type = `image/${request.format}`;
    if (request.shape === 'attachment')
      ctx.set('Content-Disposition', `attachment; filename="${style.id}.${request.format}"`);
    ctx.body = body;
  } else {
    ctx.type = 'application/json; charset=utf-8';
    ctx.body = JSON.stringify(body);
  }
}

function bodyOf(result: Result): Buffer | ImageResult | TransformResult | PredictResult {
  const { drawn, request, style, effort, timings, id = '' } = result;
  const url = `${PATHS.results}/${id}`;
  const dataUrl = () => `data:image/${request.format};base64,${drawn.bytes.toString('base64')}`;
  const seconds = Math.round(timings.total ?? 0) / 1000;
  switch (request.shape) {
    case 'picture':
    case 'attachment':
      return drawn.bytes;
    case 'image-result':
      return {
        id,
        style: style.id,
        model: style.model.name,
        width: drawn.width,
        height: drawn.height,
        effort: effortHeader(effort) === 'full' ? 'full' : 'fast',
        ...(drawn.faces === undefined ? {} : { faces: drawn.faces }),
        result_url: url,
        ...(request.base64 ? { result_base64: dataUrl() } : {}),
        timings: roundTimings(timings),
      };
    case 'transform-result':
      return {
        status: 'success',
        elapsed_time: seconds,
        result_base64: dataUrl(),
        result_url: url,
        style: style.id,
      };
    case 'predict-result':
      return { data: [dataUrl()], duration: seconds };
  }
}

/** Answers with a failure in the shape of its path. */
export async function respondError(ctx: Context, error: ToonError): Promise<void> {
  const exchange = exchangeOf(ctx);
  if (error.code === 'client_gone') {
    ctx.respond = false;
    ctx.res.destroy();
    return;
  }
  const answer = renderError(error, errorShapeOf(ctx.path), exchange.requestId);
  ctx.status = answer.status;
  ctx.set(answer.headers);
  ctx.remove('ETag');
  const body = Buffer.from(answer.body);
  ctx.body = body;
  ctx.set('Content-Type', answer.headers['content-type'] ?? 'application/json');
  if (await hasUnreadBody(ctx.req)) await answerBeforeTheEnd(ctx, body, exchange.isAttempt);
}

async function hasUnreadBody(req: IncomingMessage): Promise<boolean> {
  const announced =
    req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length']) > 0;
  if (!announced || req.complete) return false;
  // What has come already is taken in one turn of the loop: a form's reader stops at its last boundary, a line too soon.
  req.resume();
  await setImmediate();
  return !req.complete;
}

/** How much of a refused body is read, and for how long, so that the answer is not lost in a reset; as the balancer does. */
const DRAIN_BYTES = 64 * 1024 ** 2;
const DRAIN_MS = 2000;

/**
 * Writes the whole answer, then reads a bounded rest of the request, and only then ends. Closing a socket with unread
 * bytes makes TCP send a reset, which can overtake the answer on its way to the client.
 *
 * A balancer's refused attempt keeps its connection when all of its body comes in time: it will be used again at once.
 */
async function answerBeforeTheEnd(ctx: Context, body: Buffer, isAttempt: boolean): Promise<void> {
  const { req, res } = ctx;
  const keep = isAttempt && !exchangeOf(ctx).bodyHeldBack;
  ctx.respond = false;
  if (!keep) res.setHeader('Connection', 'close');
  res.setHeader('Content-Length', body.length);
  res.write(body);
  await drained(req, keep ? Number.POSITIVE_INFINITY : DRAIN_BYTES);
  const { socket } = req;
  res.end(() => {
    if (!req.complete) socket.destroySoon();
  });
}

/** Settles when the request has been read to its end, or enough of it, or for long enough. */
function drained(req: IncomingMessage, most: number): Promise<void> {
  if (req.complete || req.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let bytes = 0;
    const done = () => {
      clearTimeout(timer);
      req.off('data', onData).off('end', done).off('close', done).off('error', done);
      resolve();
    };
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > most) done();
    };
    const timer = setTimeout(done, DRAIN_MS);
    req.on('data', onData).on('end', done).on('close', done).on('error', done);
    req.resume();
  });
}

/** Timings as people read them: tenths of a ms. */
export function roundTimings(timings: Timings): Timings {
  return Object.fromEntries(
    Object.entries(timings).map(([stage, ms]) => [stage, Math.round((ms ?? 0) * 10) / 10]),
  );
}
