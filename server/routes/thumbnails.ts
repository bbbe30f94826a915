// GET /thumbnails/{style}.webp: how a style looks. Those of the package are the site's; those of added models lie beside them.

import { readFile } from 'node:fs/promises';
import type { Middleware } from 'koa';
import { styleOfThumbnail } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { WorkerParts } from '../parts.ts';

/** Serves the thumbnail of an added style. */
export function thumbnailRoute({ library, site }: WorkerParts): Middleware {
  return async (ctx, next) => {
    if (site.owns(ctx.path)) return await next();
    const style = styleOfThumbnail(ctx.path);
    const file = style === undefined ? undefined : library()?.thumbnailFile(style);
    if (file === undefined) throw new ToonError('not_found');
    try {
      ctx.body = await readFile(file);
    } catch (error) {
      // Named in the manifest and not there: a picture less, and no fault of whoever asks.
      throw new ToonError('not_found', {}, { cause: error });
    }
    ctx.type = 'image/webp';
    ctx.set('Cache-Control', 'no-cache');
  };
}
