// For tests: certificates as a person makes them with openssl, in a folder that goes with the test.

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** Why tests with certificates skip, or false. */
export const skipWithoutOpenssl =
  spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed here';

/** Two files, as `balancer.tls` names them. */
export interface TestCertificate {
  readonly folder: string;
  readonly cert_file: string;
  readonly key_file: string;
  /** Puts a new certificate in the old one's place, each file at once. */
  renew(subject: string, days?: number): void;
}

/** A self-signed certificate for localhost. `days` below 0 has expired. */
export function makeCertificate(context: TestContext, subject = 'first', days = 30): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'tls-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const [cert_file, key_file] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const renew = (name: string, validDays = days) => {
    const [cert, key] = [`${cert_file}.new`, `${key_file}.new`];
    signSelf(cert, key, name, validDays);
    renameSync(key, key_file);
    renameSync(cert, cert_file);
  };
  renew(subject);
  return { folder, cert_file, key_file, renew };
}

function signSelf(cert: string, key: string, subject: string, days: number): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const request = `${cert}.request`;
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', `/CN=${subject}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  openssl('req', '-new', ...curve, '-keyout', key, '-out', request, ...names);
  const sign = ['-signkey', key, '-copy_extensions', 'copy', '-days', String(days)];
  openssl('x509', '-req', '-in', request, ...sign, '-out', cert);
  rmSync(request);
  chmodSync(key, 0o600);
}
