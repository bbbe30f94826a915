// HTTPS at the balancer of a real cluster: its certificate is renewed and the balancer itself is replaced under traffic.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { freePort } from '../ports.ts';
import { selfSigned, skipWithoutOpenssl } from './certificate.ts';
import { underTraffic } from './clients.ts';
import { site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';

/** The serial number of the certificate that is served. */
function serialAt(port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber);
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

test('HTTPS loses no request', { skip: skipWithoutOpenssl }, async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'https-'));
  context.after(() => rmSync(dir, { recursive: true, force: true }));
  const { cert, key } = selfSigned(dir);
  const port = await freePort('127.0.0.1');
  const cluster = await startCluster(
    await site(context, {
      TOONFLEET_BALANCER__TLS__PORT: String(port),
      TOONFLEET_BALANCER__TLS__CERT_FILE: cert,
      TOONFLEET_BALANCER__TLS__KEY_FILE: key,
    }),
  );
  await untilWorkers(cluster, 2);
  const url = `https://127.0.0.1:${port}`;
  const clients = { kept: 4, fresh: 2 };

  await context.test('when its certificate is renewed', async () => {
    const before = await serialAt(port);
    const { failures, answered } = await underTraffic(url, clients, async () => {
      selfSigned(dir);
      await until(
        async () => (await serialAt(port)) !== before,
        20_000,
        () => `the old one is still served:\n${cluster.output()}`,
      );
    });
    context.diagnostic(`renewed: ${failures.length} failed of ${answered() + failures.length}`);
    assert.deepEqual(failures, []);
    assert.ok(answered() > 0);
  });

  await context.test('when the balancer is reloaded', async () => {
    const { failures, answered } = await underTraffic(url, clients, async () => {
      const { code, output } = await toonfleet(cluster, 'reload', 'balancer');
      assert.equal(code, 0, output);
    });
    context.diagnostic(`reloaded: ${failures.length} failed of ${answered() + failures.length}`);
    assert.deepEqual(failures, []);
    assert.ok(answered() > 0);
  });
});
