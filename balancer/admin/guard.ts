// Who may call the admin API: the bearer of balancer.admin_token, compared in constant time, and no page of another site.
// Every call leaves an audit line, refused ones too. Knows nothing of what is called.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Log } from '../../ops/process/log.ts';
import { sameSecret } from '../../ops/process/secret.ts';

/** Paths that need the token. */
export function isGuarded(path: string): boolean {
  return path === '/admin' || path.startsWith('/admin/');
}

/** Whether a request carries the token. Without a token in the settings nobody does. */
export function mayCall(authorization: string | undefined, token: string | undefined): boolean {
  const given = /^Bearer ([\x20-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1];
  // Done even where it is lost already.
  const same = sameSecret(given ?? '', token ?? '');
  return same && given !== undefined && token !== undefined;
}

/**
 * Whether a browser says that a page of somebody else makes this call. Such a page cannot add the token by itself, and no
 * cookie stands for it; this is for the day on which something between browser and balancer adds it for everybody.
 */
export function comesFromAnotherSite(headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site'];
  // "same-site" is another port of this machine, or another machine of this domain.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin, host } = headers;
  if (origin === undefined) return false;
  return URL.canParse(origin) ? new URL(origin).host !== host?.toLowerCase() : true;
}

/** One line a call: who asked for what, and what came of it. */
export function audit(
  log: Log,
  { method, socket, url }: IncomingMessage,
  path: string,
  status: number,
  why?: string,
): void {
  const query = (url ?? '').slice(path.length + 1, path.length + 101);
  log.info(
    {
      audit: true,
      method,
      path: path.slice(0, 200),
      query: query === '' ? undefined : query,
      client: socket.remoteAddress,
      status,
      why,
    },
    'admin call',
  );
}
