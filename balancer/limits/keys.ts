// Which API key a request carries. Pure: hashes and compares; which limits a key has is for others.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { HEADERS } from '../../config/contract.ts';

/** A key as the settings know it: never itself, only its SHA-256 in hex. */
export interface KnownKey {
  readonly name: string;
  readonly sha256: string;
}

export type Identity<K extends KnownKey> =
  | { readonly kind: 'key'; readonly key: K }
  /** No key was sent. */
  | { readonly kind: 'none' }
  /** One was sent, and it is none of ours. */
  | { readonly kind: 'wrong' };

export interface Keyring<K extends KnownKey> {
  identify(headers: IncomingHttpHeaders): Identity<K>;
}

export function createKeyring<K extends KnownKey>(keys: readonly K[]): Keyring<K> {
  const known = keys.map((key) => ({ key, digest: Buffer.from(key.sha256, 'hex') }));
  return {
    identify(headers) {
      const given = givenKeys(headers);
      const [first] = given;
      if (first === undefined) return { kind: 'none' };
      // Two different ones: whichever were taken, it could be the one that was not meant.
      if (given.some((other) => other !== first)) return { kind: 'wrong' };
      const digest = createHash('sha256').update(first).digest();
      // All of them are compared, whole, so that the time tells neither how much was right nor of which key.
      let found: K | undefined;
      for (const each of known) if (timingSafeEqual(each.digest, digest)) found = each.key;
      return found ? { kind: 'key', key: found } : { kind: 'wrong' };
    },
  };
}

/** Keys as they are sent: `Authorization: Bearer KEY` or `X-API-Key: KEY`. Other schemes are not ours to judge. */
function givenKeys(headers: IncomingHttpHeaders): string[] {
  const bearer = /^Bearer(?: +(.*))?$/i.exec(headers.authorization ?? '');
  const own = headers[HEADERS.apiKey];
  return [
    ...(bearer ? [(bearer[1] ?? '').trim()] : []),
    ...(own === undefined ? [] : [typeof own === 'string' ? own : own.join(',')]),
  ];
}
