// The balancer's certificate: reads its two files and judges them. Knows no sockets and no timers.

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';

/** The PEM files of `balancer.tls`. */
export interface CertificateFiles {
  readonly cert_file: string;
  readonly key_file: string;
}

/** A certificate with its key, fit to be served. */
export interface Certificate {
  /** The certificate and its chain, PEM. */
  readonly cert: string;
  readonly key: string;
  /** Whom it is for, as the certificate writes it: `DNS:pictures.example`. */
  readonly names: string;
  /** Ms since 1970. */
  readonly expiresAt: number;
}

/** What the two files hold. `version` changes with their bytes, and stays the same while they do. */
export type Found = { readonly version: string } & (
  | { readonly kind: 'good'; readonly certificate: Certificate }
  /** A file is not there (yet). */
  | { readonly kind: 'missing'; readonly fault: string }
  | { readonly kind: 'broken'; readonly fault: string }
);

/** Reads and judges both files. Never rejects: what is wrong is a sentence that names the setting. */
export async function readCertificate({ cert_file, key_file }: CertificateFiles): Promise<Found> {
  const cert = await readPem('balancer.tls.cert_file', cert_file);
  const key = await readPem('balancer.tls.key_file', key_file);
  const version = digest([cert, key].map((read) => (read.kind === 'text' ? read.text : read.fault)).join());
  if (cert.kind !== 'text') return { version, ...cert };
  if (key.kind !== 'text') return { version, ...key };
  return { version, ...judge(cert.text, key.text, { cert_file, key_file }) };
}

type Read =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing' | 'broken'; readonly fault: string };

async function readPem(setting: string, path: string): Promise<Read> {
  try {
    if (setting.endsWith('key_file')) {
      const mode = (await stat(path)).mode & 0o777;
      // The group may read it: certificate tools run as root and share the key with a service that way.
      if ((mode & 0o007) !== 0)
        return {
          kind: 'broken',
          fault: `${setting}: ${path} has mode 0${mode.toString(8)}, so every user of this machine can read it; allowed: 0600 or 0640 (chmod 600 ${path})`,
        };
    }
    return { kind: 'text', text: await readFile(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      kind: code === 'ENOENT' ? 'missing' : 'broken',
      fault: `${setting}: ${path} cannot be read (${code})`,
    };
  }
}

function judge(cert: string, key: string, { cert_file, key_file }: CertificateFiles) {
  const broken = (fault: string) => ({ kind: 'broken', fault }) as const;
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(cert);
  } catch {
    return broken(
      `balancer.tls.cert_file: ${cert_file} holds no certificate; allowed: PEM, the chain included`,
    );
  }
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey(key);
  } catch {
    return broken(
      `balancer.tls.key_file: ${key_file} holds no private key that can be read; allowed: PEM without a passphrase`,
    );
  }
  if (!parsed.checkPrivateKey(privateKey))
    return broken(`balancer.tls.key_file: ${key_file} is not the key of the certificate in ${cert_file}`);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    return broken(`balancer.tls.cert_file: ${cert_file} cannot be used (${(error as Error).message})`);
  }
  const expiresAt = Date.parse(parsed.validTo);
  const names = parsed.subjectAltName ?? parsed.subject;
  return { kind: 'good', certificate: { cert, key, names, expiresAt } } as const;
}

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
