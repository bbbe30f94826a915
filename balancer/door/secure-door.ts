// The HTTPS port: opens once there is a certificate, and takes up a renewed one without touching a connection.
// Requests are the journey's business; what makes a certificate good is decided in `certificate.ts`.

import type { AddressInfo } from 'node:net';
import type { Log } from '../../ops/process/log.ts';
import { type Certificate, type CertificateFiles, type Found, readCertificate } from './certificate.ts';
import type { SecureServer } from './public-server.ts';

/**
 * How often the files are looked at. Looking beats a watcher of the kernel: certbot moves a link two folders away, and
 * a file may come from a network disk.
 */
const LOOK_MS = 2000;

export interface SecureDoorParts {
  readonly files: CertificateFiles;
  readonly port: number;
  readonly host: string;
  /** True when an ACME client will bring the first certificate: then the door waits for it instead of failing. */
  readonly awaitsFirst: boolean;
  readonly createServer: (certificate: Certificate) => SecureServer;
  /** Told with every certificate that is taken up. */
  readonly onCertificate: (certificate: Certificate) => void;
  readonly log: Log;
  /** Ms since 1970. */
  readonly wallClock: () => number;
  /** Ms; LOOK_MS unless a test is in a hurry. */
  readonly lookMs?: number;
}

/** The HTTPS port of one balancer. */
export class SecureDoor {
  readonly #parts: SecureDoorParts;
  #server: SecureServer | undefined;
  #address: AddressInfo | undefined;
  #current: Certificate | undefined;
  /** The files as they were judged last. */
  #judged = '';
  /** The files as they were seen last; a version is judged when it is seen twice, since both are never written at once. */
  #seen = '';
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: SecureDoorParts) {
    this.#parts = parts;
  }

  /** Where it listens; undefined while there is no certificate. */
  get address(): AddressInfo | undefined {
    return this.#address;
  }

  /**
   * Reads the certificate, listens, and goes on looking at the files.
   * @throws {Error} naming the setting, when the files are not good or the port is taken.
   */
  async open(): Promise<void> {
    const found = await readCertificate(this.#parts.files);
    this.#judged = found.version;
    this.#seen = found.version;
    if (found.kind === 'missing' && this.#parts.awaitsFirst)
      this.#parts.log.warn(
        { fault: found.fault },
        'there is no certificate yet: the HTTPS port opens when the ACME client has brought one',
      );
    else if (found.kind !== 'good') throw new Error(found.fault);
    else await this.#use(found.certificate);
    this.#lookLater();
  }

  /** Stops accepting; what is under way goes on. */
  stopAccepting(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#server?.stopAccepting();
  }

  /** How many connections are open. */
  async connections(): Promise<number> {
    return (await this.#server?.connections()) ?? 0;
  }

  closeAll(): void {
    this.#server?.closeAll();
  }

  #lookLater(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#look(), this.#parts.lookMs ?? LOOK_MS);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const found = await readCertificate(this.#parts.files);
    if (this.#closed) return;
    if (found.version !== this.#judged && found.version === this.#seen) {
      this.#judged = found.version;
      await this.#judge(found);
    }
    this.#seen = found.version;
    this.#lookLater();
  }

  async #judge(found: Found): Promise<void> {
    const { log, wallClock } = this.#parts;
    const current = this.#current;
    if (found.kind !== 'good') {
      log.error({ fault: found.fault }, current ? 'the old certificate stays' : 'still no certificate');
      return;
    }
    const { certificate } = found;
    if (current && certificate.expiresAt < wallClock() && current.expiresAt > certificate.expiresAt) {
      const fault = `the new certificate has expired on ${dateOf(certificate)}`;
      log.error({ fault }, 'the old certificate stays');
      return;
    }
    try {
      await this.#use(certificate);
    } catch (error) {
      log.error({ error }, 'the HTTPS port could not be opened');
      // Tried again with the next look.
      this.#judged = '';
    }
  }

  async #use(certificate: Certificate): Promise<void> {
    const { createServer, port, host, log, wallClock, onCertificate } = this.#parts;
    if (this.#server) this.#server.renew(certificate);
    else {
      const server = createServer(certificate);
      this.#address = await server.listen(port, host);
      this.#server = server;
    }
    const renewed = this.#current !== undefined;
    this.#current = certificate;
    onCertificate(certificate);
    const fields = { names: certificate.names, expires: dateOf(certificate), port: this.#address?.port };
    if (certificate.expiresAt < wallClock()) log.warn(fields, 'the certificate has expired');
    else log.info(fields, renewed ? 'certificate renewed' : 'HTTPS is open');
  }
}

const dateOf = ({ expiresAt }: Certificate) => new Date(expiresAt).toISOString();
