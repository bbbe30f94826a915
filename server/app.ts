// The Koa stack of a worker, top to bottom in the order in which a request meets it. Does not listen: a test calls it
// in-process, main.ts gives it to its servers.

import Router from '@koa/router';
import Koa, { type Context, type Middleware } from 'koa';
import { HEADERS, PATHS } from '../config/contract.ts';
import { ERRORS, ToonError, toToonError } from '../config/errors.ts';
import { passesNodeKey } from '../ops/process/node-key.ts';
import { SITE_METHODS } from '../ops/process/site.ts';
import { exchangeOf, openExchange } from './exchange.ts';
import type { WorkerParts } from './parts.ts';
import { respondError } from './respond.ts';
import { healthRoutes } from './routes/health.ts';
import { PICTURE_PATHS, pictureRoute } from './routes/images.ts';
import { internalRoutes } from './routes/internal.ts';
import { resultRoute } from './routes/results.ts';
import { stylesRoute } from './routes/styles.ts';
import { thumbnailRoute } from './routes/thumbnails.ts';

/** Builds the app. */
export function createApp(parts: WorkerParts): Koa {
  const app = new Koa();
  // Koa's own handler only sees what goes wrong while an answer is on its way, and there is no client to tell.
  app.silent = true;
  app.on('error', (error) => parts.log.debug({ error }, 'an answer was cut off'));
  const router = createRouter(parts);
  app.use(exchangeAndLog(parts));
  app.use(errors());
  app.use(leaveWhenDraining(parts));
  app.use(nodeKey(parts.settings.node.key));
  app.use(router.routes());
  app.use(site(parts, router));
  return app;
}

function createRouter(parts: WorkerParts): Router {
  const router = new Router();
  // Not strict: `/api/predict/` is `/api/predict`.
  for (const path of PICTURE_PATHS) router.post(path, pictureRoute(parts, path));
  router.get(PATHS.styles, stylesRoute(parts));
  router.get(`${PATHS.results}/:id`, resultRoute(parts));
  router.get(`${PATHS.thumbnails}/:file`, thumbnailRoute(parts));
  healthRoutes(router, parts);
  internalRoutes(router, parts);
  return router;
}

/** Opens the exchange, and closes it with one log line and one count. */
function exchangeAndLog({ settings, metrics, log }: WorkerParts): Middleware {
  return async (ctx, next) => {
    const exchange = openExchange(ctx, settings.balancer.deadline);
    ctx.set(HEADERS.requestId, exchange.requestId);
    ctx.set(HEADERS.node, settings.node.name);
    ctx.set('X-Content-Type-Options', 'nosniff');
    await next();
    const { code, cause, timings, ...facts } = exchange.facts;
    const status = code ? ERRORS[code as keyof typeof ERRORS].status : ctx.status;
    const isPicture = ctx.method === 'POST' && (PICTURE_PATHS as readonly string[]).includes(routeOf(ctx));
    if (isPicture) metrics.requests.inc({ route: routeOf(ctx), status: String(status) });
    const line = {
      request_id: exchange.requestId,
      method: ctx.method,
      path: ctx.path,
      status,
      ms: { ...timings, total: Math.round((performance.now() - exchange.arrivedAt) * 10) / 10 },
      ...(code ? { code } : {}),
      ...(cause === undefined ? {} : { error: cause }),
      ...facts,
    };
    if (code && ERRORS[code as keyof typeof ERRORS].alarm) log.error(line, 'request');
    else if (isPicture) log.info(line, 'request');
    else log.debug(line, 'request');
  };
}

/** The path without the slash that some clients add. */
const routeOf = (ctx: Context) => (ctx.path.length > 1 ? ctx.path.replace(/\/$/, '') : ctx.path);

/** Whatever is thrown below becomes an answer here, and nowhere else. */
function errors(): Middleware {
  return async (ctx, next) => {
    try {
      await next();
    } catch (thrown) {
      const error = toToonError(thrown);
      const { facts } = exchangeOf(ctx);
      facts.code = error.code;
      facts.cause = error.cause;
      await respondError(ctx, error);
    }
  };
}

/** On the way out every answer asks its client to connect anew, to somebody else. */
function leaveWhenDraining({ readiness }: WorkerParts): Middleware {
  return async (ctx, next) => {
    if (readiness.state === 'draining') ctx.set('Connection', 'close');
    await next();
  };
}

/** With node.key set, only who sends it is served; `/live` is exempt, since supervisors have no keys. */
function nodeKey(key: string | undefined): Middleware {
  return async (ctx, next) => {
    const open = ctx.path === PATHS.live || ctx.path === PATHS.kserveLive;
    if (!open && !passesNodeKey(key, ctx.headers)) {
      throw new ToonError('unauthorized', { detail: 'This worker serves its fleet only.' });
    }
    await next();
  };
}

/** The page and the docs; and for all that is nobody's, 405 where another method would do, else 404. */
function site({ site }: WorkerParts, router: Router): Middleware {
  return (ctx) => {
    const answer = site.answer(ctx.method, ctx.path, ctx.headers);
    if (answer) {
      ctx.status = answer.status;
      ctx.set(answer.headers);
      if (ctx.method !== 'HEAD' && answer.status === 200) ctx.body = answer.body;
      return;
    }
    const allowed = site.owns(ctx.path) ? SITE_METHODS : methodsOf(router, ctx);
    if (allowed.length === 0) throw new ToonError('not_found');
    if (ctx.method !== 'OPTIONS') throw new ToonError('method_not_allowed', { allow: allowed });
    ctx.status = 204;
    ctx.set('Allow', allowed.join(', '));
  };
}

function methodsOf(router: Router, { path, method }: Context): string[] {
  return [...new Set(router.match(path, method).path.flatMap((layer) => layer.methods))];
}
