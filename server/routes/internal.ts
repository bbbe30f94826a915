// What only the fleet's own processes ask: this worker's report and its series.

import type Router from '@koa/router';
import { INTERNAL_PATHS } from '../../config/contract.ts';
import type { WorkerParts } from '../parts.ts';

/** Adds the internal routes. */
export function internalRoutes(router: Router, { report, metrics }: WorkerParts): void {
  router.get(INTERNAL_PATHS.workerReport, (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = report();
  });
  router.get(INTERNAL_PATHS.workerMetrics, async (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = await metrics.registry.getMetricsAsJSON();
  });
}
