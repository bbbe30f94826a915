// The group balancer.tls: the certificate, and what browsers are told of HTTPS. Files are named here, never read. Pure.

import type { z } from 'zod';
import { fault, show } from './fault.ts';
import { duration, file, flag, folder, port, room, whole } from './field.ts';

/** The group balancer.tls. */
export const tls = room({
  port: port(8443, 'The public port for HTTPS; it opens when cert_file is set.'),
  cert_file: file(
    '/etc/toonfleet/fullchain.pem',
    'The certificate with its chain (PEM); empty leaves TLS off. A renewed file is picked up within seconds, without a lost connection.',
  ),
  key_file: file(
    '/etc/toonfleet/privkey.pem',
    'Its private key (PEM), which other users of the machine must not be able to read.',
  ),
  redirect: flag(
    false,
    'True to send clients of the plain port to HTTPS; health checks, ACME challenges and whatever comes through trusted_proxies are still answered there.',
  ),
  public_port: whole(
    0,
    0,
    65535,
    'The HTTPS port as clients see it, where a router passes 443 on to port; 0 means port itself.',
  ),
  hsts: duration(
    '0s',
    '0s',
    '730d',
    'How long browsers that came by HTTPS must not use anything else (Strict-Transport-Security); 0s sends no such header.',
  ),
  acme_dir: folder(
    '',
    'The webroot of certbot or lego, whose challenges the plain port answers; empty answers none. With it set, the balancer starts before the first certificate is there.',
  ),
});

/** What of this group cannot stand together: all of it is for nothing without a certificate and its key. */
export function tlsContradictions({ cert_file, key_file, redirect, hsts }: z.output<typeof tls>): string[] {
  const needs = (name: string, found: unknown, needed: string) =>
    fault(
      `balancer.tls.${name}`,
      `${show(found)} without balancer.tls.${needed}`,
      'both or none',
      `balancer.tls.${needed}: /etc/toonfleet/${needed === 'key_file' ? 'privkey' : 'fullchain'}.pem`,
    );
  if (cert_file !== '') return key_file === '' ? [needs('cert_file', cert_file, 'key_file')] : [];
  const faults: string[] = [];
  if (key_file !== '') faults.push(needs('key_file', key_file, 'cert_file'));
  if (redirect) faults.push(needs('redirect', true, 'cert_file'));
  if (hsts > 0) faults.push(needs('hsts', `${hsts}ms`, 'cert_file'));
  return faults;
}
