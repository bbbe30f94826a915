// Where a request of the plain port is sent when HTTPS is wanted. Pure.

import type { Route } from '../passage/head.ts';

/** Answered on the plain port all the same: supervisors, and the proof of who we are that a certificate rests on. */
const STAYS_PLAIN: ReadonlySet<Route['kind']> = new Set(['challenge', 'health', 'ready', 'live']);

/** Whether a route is sent on to HTTPS. */
export const isSentOn = ({ kind }: Route) => !STAYS_PLAIN.has(kind);

/** The same target over HTTPS, or undefined when the client did not say whom it wants (HTTP/1.0 without a Host). */
export function httpsLocation(host: string | undefined, target: string, port: number): string | undefined {
  const name = host?.replace(/:\d+$/, '');
  if (!name) return undefined;
  return `https://${name}${port === 443 ? '' : `:${port}`}${target}`;
}
