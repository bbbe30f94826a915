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
      return elementsOf(text).map((element) => withoutPort(forOf(element)));
  }
}

/** The elements of a `Forwarded` header (RFC 7239); a comma within quotes does not part them. */
function elementsOf(text: string): string[] {
  return text.match(/(?:"(?:[^"\\]|\\.)*"|[^,"]|")+/g) ?? [];
}

/** What an element says after `for=`; nothing when it says it not, or twice. */
function forOf(element: string): string {
  const said = [...element.matchAll(/(?:^|;)\s*for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))\s*(?=;|$)/gi)];
  const [only] = said;
  return said.length === 1 && only ? (only[1] ?? only[2] ?? '') : '';
}

/** `1.2.3.4:567`, `[2001:db8::1]:567` and `[2001:db8::1]` without what is no address. */
function withoutPort(hop: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(hop);
  if (bracketed) return bracketed[1] ?? '';
  return /^([\d.]+):\d{1,5}$/.exec(hop)?.[1] ?? hop;
}
