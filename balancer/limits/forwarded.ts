// Whose request this is: the peer of the connection, or whom a trusted proxy names. Pure.
//
// Anybody may write forwarding headers. Each proxy adds the address that it saw at the right end; so the list is read
// from there, and only as far as trusted proxies speak. What stands left of the first untrusted address is hearsay.

import type { IncomingHttpHeaders } from 'node:http';
import { canonicalAddress, type Networks } from '../../config/address.ts';

export const forwardedHeaders = ['x-forwarded-for', 'forwarded'] as const;
/** The header that the trusted proxies write; the other one is a client's own. */
export type ForwardedHeader = (typeof forwardedHeaders)[number];

/** Longer chains of proxies do not exist; a list that is longer is read so far. */
const MAX_HOPS = 32;

/** The client's address; the peer's own when no trusted proxy names another. The peer's is canonical, and so is the answer. */
export function clientAddress(
  peer: string,
  headers: IncomingHttpHeaders,
  { trusted, header }: { readonly trusted: Networks; readonly header: ForwardedHeader },
): string {
  let client = peer;
  if (!trusted.has(client)) return client;
  for (const hop of hopsOf(headers, header).reverse().slice(0, MAX_HOPS)) {
    const address = canonicalAddress(hop);
    // A proxy that hides whom it speaks for ("unknown", "_a1") speaks for itself.
    if (address === undefined) return client;
    client = address;
    if (!trusted.has(client)) return client;
  }
  return client;
}

function hopsOf(headers: IncomingHttpHeaders, header: ForwardedHeader): string[] {
  const value = headers[header];
  const text = typeof value === 'string' ? value : (value ?? []).join(',');
  if (text === '') return [];
  switch (header) {
    case 'x-forwarded-for':
      return text.split(',').map((hop) => withoutPort(hop.trim()));
    case 'forwarded':
      return partsFromRight(text, ',', MAX_HOPS).map((element) => withoutPort(forOf(element)));
  }
}

/**
 * The last parts of a `Forwarded` header (RFC 7239) between marks that stand outside quotes, in their order. Read from the right:
 * the last element is our own proxy's, and a quote that a client left open on the left must not swallow it. One pass, since
 * a client may have written nearly all of it.
 */
function partsFromRight(text: string, mark: string, most: number): string[] {
  const parts: string[] = [];
  let end = text.length;
  let quoted = false;
  for (let at = text.length - 1; at >= 0 && parts.length < most; at--) {
    if (text[at] === '"') quoted = !quoted;
    else if (text[at] === mark && !quoted) {
      parts.push(text.slice(at + 1, end));
      end = at;
    }
  }
  if (parts.length < most) parts.push(text.slice(0, end));
  return parts.reverse();
}

/** What an element says after `for=`; nothing when it says it not, or twice. */
function forOf(element: string): string {
  const said = partsFromRight(element, ';', Number.POSITIVE_INFINITY).flatMap((pair) => {
    const equals = Math.max(0, pair.indexOf('='));
    return pair.slice(0, equals).trim().toLowerCase() === 'for' ? [pair.slice(equals + 1).trim()] : [];
  });
  const [only = ''] = said;
  if (said.length !== 1) return '';
  const bare = only.length > 1 && only.startsWith('"') && only.endsWith('"') ? only.slice(1, -1) : only;
  return /[\s"\\]/.test(bare) ? '' : bare;
}

/** `1.2.3.4:567`, `[2001:db8::1]:567` and `[2001:db8::1]` without what is no address. */
function withoutPort(hop: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(hop);
  if (bracketed) return bracketed[1] ?? '';
  return /^([\d.]+):\d{1,5}$/.exec(hop)?.[1] ?? hop;
}
