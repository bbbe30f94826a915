// What makes two picture requests the same one, and whether a request may use the cache at all. Pure.

import { createHash } from 'node:crypto';
import type { ImageRequest } from '../../config/image-request.ts';
import type { Look } from './look.ts';

/** How a request may use the cache. */
export type CacheUse =
  /** Look, share, keep. */
  | 'full'
  /** Draw anew, and keep that: the client asked for a fresh picture. */
  | 'refresh'
  /** Neither look nor keep. */
  | 'none';

/**
 * How a request may use the cache. Only bare pictures may: a JSON answer carries the id of a stored result, which is a
 * secret of whoever asked and ends with `results.ttl`, and the times of its own drawing. `effort=auto` depends on the
 * load of the moment.
 * @param cacheControl The client's header.
 */
export function useOf(
  { shape, effort }: Pick<ImageRequest, 'shape' | 'effort'>,
  cacheControl: string | undefined,
): CacheUse {
  if ((shape !== 'picture' && shape !== 'attachment') || effort === 'auto') return 'none';
  const wishes = directivesOf(cacheControl);
  if (wishes.has('no-store')) return 'none';
  return wishes.has('no-cache') || wishes.has('max-age=0') ? 'refresh' : 'full';
}

/** The directives of a `Cache-Control` header, in lower case and without blanks. */
export function directivesOf(header: string | undefined): ReadonlySet<string> {
  if (header === undefined) return new Set();
  return new Set(header.split(',').map((directive) => directive.replace(/[\s"]/g, '').toLowerCase()));
}

/** A request as far as its picture depends on it, without the style: that is the look's to say. */
export interface Asked {
  readonly path: string;
  readonly request: Pick<ImageRequest, 'shape' | 'format' | 'maxSide' | 'quality' | 'effort' | 'faces'>;
  /** SHA-256 of the photo's bytes, hex. */
  readonly photo: string;
}

/** The name under which the picture of a request in one look is kept, hex. JSON of a list is injective: nothing collides. */
export function entryKey({ path, request, photo }: Asked, { style, version, release }: Look): string {
  const { shape, format, maxSide, effort, faces } = request;
  // PNG has no quality: whatever is asked for, the picture is the same.
  const quality = format === 'png' ? null : (request.quality ?? null);
  return sha256(
    JSON.stringify([path, shape, format, maxSide, quality, effort, faces, style, version, release, photo]),
  );
}

/** SHA-256, hex. */
export function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
