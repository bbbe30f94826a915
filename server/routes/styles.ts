// GET /v1/styles: what this worker can draw.

import type { Middleware } from 'koa';
import type { StyleList } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { WorkerParts } from '../parts.ts';

/** Lists the styles. */
export function stylesRoute({ library }: WorkerParts): Middleware {
  return (ctx) => {
    const models = library();
    if (!models)
      throw new ToonError('no_upstream', { detail: 'The models are being loaded.', retryAfterMs: 1000 });
    ctx.set('Cache-Control', 'no-cache');
    ctx.body = { styles: models.list() } satisfies StyleList;
  };
}
