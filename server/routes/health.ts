// Whether this worker lives and whether it may be sent pictures, under every name that people ask by.

import type Router from '@koa/router';
import { PATHS } from '../../config/contract.ts';
import { RELEASE, VERSION } from '../../ops/process/package.ts';
import type { WorkerParts } from '../parts.ts';

/** Adds the health routes. */
export function healthRoutes(router: Router, { readiness, library, settings }: WorkerParts): void {
  const node = settings.node.name;

  router.get([PATHS.live, PATHS.kserveLive], (ctx) => {
    ctx.body = { status: 'live' };
  });

  router.get([PATHS.ready, PATHS.kserveReady], (ctx) => {
    const { state, detail } = readiness;
    ctx.status = state === 'ready' ? 200 : 503;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { status: state, node, ...(detail === undefined ? {} : { detail }) };
  });

  router.get(PATHS.health, (ctx) => {
    const loaded = library() !== undefined;
    ctx.status = loaded ? 200 : 503;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = {
      status: loaded ? 'healthy' : 'unhealthy',
      model_loaded: loaded,
      node,
      version: VERSION,
      release: RELEASE,
    };
  });
}
