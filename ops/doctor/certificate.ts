// Whether the balancer's certificate is fit to be served, and for how long yet. Pure: the balancer's own reader reads it.

import { bad, type Finding, ok, warn } from './finding.ts';

/** What stands in the two files of `balancer.tls`. */
export type FoundCertificate =
  | { readonly kind: 'good'; readonly certificate: { readonly names: string; readonly expiresAt: number } }
  | { readonly kind: 'missing' | 'broken'; readonly fault: string };

const DAY_MS = 86_400_000;
/** Authorities renew a month ahead: two weeks before the end two tries have failed. */
const SOON_DAYS = 14;

/** @param awaited Whether an ACME client is set up, whose first certificate may come later. */
export function judgeCertificate(found: FoundCertificate, awaited: boolean, now: number): Finding {
  const check = 'certificate';
  if (found.kind === 'missing' && awaited)
    return warn(check, found.fault, 'HTTPS opens once the ACME client has brought it; run that client');
  if (found.kind !== 'good')
    return bad(
      check,
      found.fault,
      'HTTPS does not open, or serves the old one: put the right files in place; no restart is needed',
    );
  const { names, expiresAt } = found.certificate;
  const days = Math.floor((expiresAt - now) / DAY_MS);
  const end = new Date(expiresAt).toISOString().slice(0, 10);
  const renew =
    'renew it (certbot renew, lego renew) and see why that did not happen by itself; it is taken up within seconds';
  if (expiresAt <= now) return bad(check, `${names}: expired on ${end}`, renew);
  if (days < SOON_DAYS) return warn(check, `${names}: expires in ${days} days, on ${end}`, renew);
  return ok(check, `${names}: good until ${end}, and the key fits`);
}
