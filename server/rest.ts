// When a worker has worked enough: after so many pictures, or when its memory has grown. It then leaves by its drain, one
// of the node at a time, and PM2 starts a new one in its place. Pure.

import type { Settings } from '../config/schema.ts';

/** What a worker has done and holds. */
export interface Work {
  readonly pictures: number;
  readonly rssBytes: number;
}

/** Why a worker should rest; undefined while it need not. A limit of 0 is none. */
export function tiredBy(
  { pictures, rssBytes }: Work,
  { max_requests, max_memory }: Pick<Settings['worker'], 'max_requests' | 'max_memory'>,
): 'requests' | 'memory' | undefined {
  // Whoever has drawn nothing yet would only be followed by another like him.
  if (pictures === 0) return undefined;
  if (max_requests > 0 && pictures >= max_requests) return 'requests';
  if (max_memory > 0 && rssBytes >= max_memory) return 'memory';
  return undefined;
}
