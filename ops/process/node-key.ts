// Compares the node key that a request carries with ours, in constant time.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { HEADERS } from '../../config/contract.ts';

/** Whether a request may pass: it carries the node key, or none is set. */
export function passesNodeKey(key: string | undefined, headers: IncomingHttpHeaders): boolean {
  if (key === undefined) return true;
  const given = headers[HEADERS.nodeKey];
  // Digests have one length, so neither the length nor the first wrong character shows in the time.
  return typeof given === 'string' && timingSafeEqual(digest(given), digest(key));
}

const digest = (text: string) => createHash('sha256').update(text).digest();
