// Certificates for end-to-end tests, as a person makes them with openssl.

import { execFileSync, spawnSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { join } from 'node:path';

/** Why tests with certificates skip, or false. */
export const skipWithoutOpenssl =
  spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed here';

/** Makes a self-signed certificate for this machine in a folder; files of that name are replaced, each at once. */
export function selfSigned(dir: string, name = 'own'): { cert: string; key: string } {
  const [cert, key] = [join(dir, `${name}.pem`), join(dir, `${name}.key`)];
  const files = ['-keyout', `${key}.new`, '-out', `${cert}.new`];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...names, ...files], { stdio: 'ignore' });
  renameSync(`${key}.new`, key);
  renameSync(`${cert}.new`, cert);
  return { cert, key };
}
