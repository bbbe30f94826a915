// The picture routes: one call, many faces. Admission → upload → request → slot → draw → answer.
// Knows the order of things; how each is done stands in the file of its name.

import type { Context, Middleware } from 'koa';
import { type Admission, HEADERS, PATHS, type Timings } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { type ImageRequest, readImageRequest } from '../../config/image-request.ts';
import { checkPictureSize, type PictureHeader, readPictureHeader } from '../../config/picture.ts';
import { VERSION } from '../../ops/process/package.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';
import type { StyleModel } from '../model/entries/installed.ts';
import type { Library } from '../model/library.ts';
import type { InstalledStyle } from '../model/styles.ts';
import type { WorkerParts } from '../parts.ts';
import { chooseWay, type Expectation, spared } from '../pipeline/effort.ts';
import { fit, type Size } from '../pipeline/fit.ts';
import { type DrawContext, draw, ruleOf, wholeOf } from '../pipeline/pipeline.ts';
import type { Label } from '../pipeline/provenance.ts';
import { respondResult, roundTimings } from '../respond.ts';
import type { Release } from '../slot.ts';
import { createUploadReader } from '../upload.ts';

/** The paths that take pictures. */
export const PICTURE_PATHS = [
  PATHS.images,
  PATHS.transform,
  PATHS.upload,
  PATHS.apiTransform,
  PATHS.predict,
] as const;

/** Node's own limit for a whole request is 60 s; ours comes first, so that the answer has words. */
const LONGEST_UPLOAD_MS = 55_000;

/** The handler of one picture path. */
export function pictureRoute(parts: WorkerParts, path: string): Middleware {
  const { settings, slot } = parts;
  const readUpload = createUploadReader({
    upload: settings.limits.upload,
    json: settings.limits.json,
    timeout: Math.min(settings.balancer.upload_timeout, LONGEST_UPLOAD_MS),
  });

  return async (ctx) => {
    const exchange = exchangeOf(ctx);
    const library = admit(ctx, exchange, parts);
    let release = exchange.isAttempt ? claimAtOnce(ctx, parts) : undefined;
    try {
      const timings: Timings = {};
      const started = performance.now();
      const upload = await readUpload(ctx, path);
      if (!exchange.isAttempt) timings.upload = performance.now() - started;

      const request = readImageRequest(
        {
          path,
          query: new URLSearchParams(ctx.querystring),
          fields: upload.fields,
          pictureField: upload.pictureField,
          accept: ctx.get('accept') || undefined,
        },
        settings.limits,
      );
      const style = library.style(request.style);
      exchange.facts.style = style.id;
      exchange.facts.model = style.model.name;
      // What can be refused without a slot is refused before one is waited for.
      const header = readPictureHeader(upload.picture);
      checkPictureSize(header, settings.limits.pixels);

      const queuedAt = performance.now();
      release ??= await slot.claim(exchange.deadline, exchange.gone);
      if (!exchange.isAttempt) timings.queue = performance.now() - queuedAt;

      const leftMs = exchange.deadline - performance.now();
      const way = chooseWay(
        { request, picture: header, style, lighter: library.lighter, leftMs },
        expectation(header, request, parts),
      );
      exchange.facts.style = way.style.id;
      exchange.facts.model = way.style.model.name;
      const drawn = await draw(
        {
          picture: upload.picture,
          model: way.style.model,
          faces: request.faces === 'auto',
          maxSide: way.maxSide,
          encoding: { format: request.format, quality: request.quality, label: labelOf(way.style, settings) },
        },
        drawContext(ctx, exchange, release, ({ pixels, ms }) =>
          parts.speed.drew(timedAs(way.style.model, request), pixels, ms),
        ),
        { inference: parts.inference, maxPixels: settings.limits.pixels, memory: parts.memory },
      );
      const { decode = 0, encode = 0 } = drawn.timings;
      parts.speed.carried(drawn.width * drawn.height, decode + encode);
      observe(drawn.timings, parts);

      const stored = request.shape === 'image-result' || request.shape === 'transform-result';
      const id = stored ? await parts.results.put(drawn.bytes, request.format) : undefined;
      Object.assign(timings, drawn.timings, { total: performance.now() - exchange.arrivedAt });
      exchange.facts.timings = roundTimings(timings);
      const whole = fit(sizeOf(header, settings.limits), request.maxSide, ruleOf(wholeOf(way.style.model)));
      const effort = spared(way.effort, drawn, whole.answer);
      respondResult(ctx, { drawn, request, style: way.style, effort, timings, id });
    } finally {
      release?.();
    }
  };
}

/**
 * Lets a request in, or says why not. A draining worker still serves who comes without a balancer: his connection was
 * accepted, and nobody would send him elsewhere.
 */
function admit(ctx: Context, { isAttempt }: Exchange, { readiness, library }: WorkerParts): Library {
  const models = library();
  if (readiness.state === 'draining' && isAttempt) throw refused(ctx, 'draining', new ToonError('draining'));
  if (readiness.state === 'loading' || !models) {
    throw new ToonError('no_upstream', {
      detail: 'This worker is not ready; GET /ready says why.',
      retryAfterMs: 1000,
    });
  }
  return models;
}

/** A balancer's request takes the slot before its body is read, or hears "busy" at once. */
function claimAtOnce(ctx: Context, { slot }: WorkerParts): Release {
  const release = slot.tryAttempt();
  if (release) return release;
  ctx.set(HEADERS.queueLength, String(slot.queued));
  throw refused(ctx, 'busy', slot.overloaded());
}

function refused(ctx: Context, admission: Admission, error: ToonError): ToonError {
  ctx.set(HEADERS.admission, admission);
  return error;
}

function drawContext(
  ctx: Context,
  exchange: Exchange,
  release: Release,
  learn: DrawContext['drawn'],
): DrawContext {
  return {
    deadline: exchange.deadline,
    now: () => performance.now(),
    gone: () => exchange.gone.aborted,
    drawn: (inferred) => {
      release();
      learn(inferred);
      // Tells the balancer that the next picture may come while this one is being encoded.
      if (exchange.isAttempt && ctx.req.httpVersion === '1.1' && !exchange.gone.aborted)
        ctx.res.writeProcessing();
    },
  };
}

/** What this worker has learnt of its models, for a picture as its header tells it. */
function expectation(
  header: PictureHeader,
  request: ImageRequest,
  { speed, settings }: WorkerParts,
): Expectation {
  const picture = sizeOf(header, settings.limits);
  return ({ model }, side) => {
    const whole = wholeOf(model);
    const { padded, answer } = fit(picture, side, ruleOf(whole));
    const [fed, given] = [padded.width * padded.height, answer.width * answer.height];
    return speed.expect(timedAs(model, request), fed, given, whole.name);
  };
}

/** Under which name its times are kept: a composite that looks for no faces is its background. */
function timedAs(model: StyleModel, { faces }: ImageRequest): string {
  return faces === 'off' ? wholeOf(model).name : model.name;
}

/** A picture's size as its header tells it; the largest that is drawn where the header was cut before it. */
function sizeOf({ width, height }: PictureHeader, { max_side: most }: { readonly max_side: number }): Size {
  return { width: width ?? most, height: height ?? most };
}

/** What the answer says of its own making, as the settings want it. */
function labelOf({ id, model }: InstalledStyle, { worker }: WorkerParts['settings']): Label | undefined {
  if (worker.provenance === 'off') return undefined;
  const { name, sha256, variant, embedded } = model;
  const software = `toonfleet ${VERSION}`;
  return { as: worker.provenance, software, style: id, model: name, sha256, variant, trained: !embedded };
}

function observe(timings: Timings, { metrics }: WorkerParts): void {
  for (const stage of ['decode', 'infer', 'encode'] as const) {
    const ms = timings[stage];
    if (ms !== undefined) metrics.stages.observe({ stage }, ms / 1000);
  }
}
