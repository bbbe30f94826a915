// The key that balancers, agents and workers of one fleet share: how it is sent, and whether a request carries it.

import type { IncomingHttpHeaders } from 'node:http';
import { HEADERS } from '../../config/contract.ts';
import { sameSecret } from './secret.ts';

/** Whether a request may pass: it carries the node key, or none is set. */
export function passesNodeKey(key: string | undefined, headers: IncomingHttpHeaders): boolean {
  if (key === undefined) return true;
  const given = headers[HEADERS.nodeKey];
  return typeof given === 'string' && sameSecret(given, key);
}

/** The header that carries the node key; none where no key is set. */
export function nodeKeyHeader(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { [HEADERS.nodeKey]: key };
}
