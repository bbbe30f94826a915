import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { readCertificate } from './certificate.ts';
import { makeCertificate, skipWithoutOpenssl, type TestCertificate } from './test-certificate.ts';

const faults: {
  name: string;
  harm: (files: TestCertificate) => void;
  kind: 'missing' | 'broken';
  fault: RegExp;
}[] = [
  {
    name: 'no certificate',
    harm: ({ cert_file }) => rmSync(cert_file),
    kind: 'missing',
    fault: /^balancer\.tls\.cert_file: .*cert\.pem cannot be read \(ENOENT\)$/,
  },
  {
    name: 'no key',
    harm: ({ key_file }) => rmSync(key_file),
    kind: 'missing',
    fault: /^balancer\.tls\.key_file: .*key\.pem cannot be read \(ENOENT\)$/,
  },
  {
    name: 'a key that every user can read',
    harm: ({ key_file }) => chmodSync(key_file, 0o644),
    kind: 'broken',
    fault: /key_file: .* has mode 0644.*chmod 600/,
  },
  {
    name: 'half a certificate',
    harm: ({ cert_file }) => writeFileSync(cert_file, '-----BEGIN CERTIFICATE-----\nMIIB'),
    kind: 'broken',
    fault: /cert_file: .* holds no certificate/,
  },
  {
    name: 'a certificate where the key should be',
    harm: ({ cert_file, key_file }) => writeFileSync(key_file, readFileSync(cert_file)),
    kind: 'broken',
    fault: /key_file: .* holds no private key/,
  },
  {
    name: 'a key with a passphrase',
    harm: ({ key_file }) =>
      execFileSync(
        'openssl',
        ['ec', '-in', key_file, '-aes128', '-passout', 'pass:secret', '-out', key_file],
        {
          stdio: 'ignore',
        },
      ),
    kind: 'broken',
    fault: /without a passphrase/,
  },
];

for (const { name, harm, kind, fault } of faults)
  test(`${name} is told with the setting and the file`, { skip: skipWithoutOpenssl }, async (context) => {
    const files = makeCertificate(context);
    harm(files);
    const found = await readCertificate(files);
    assert.equal(found.kind, kind);
    assert.match('fault' in found ? found.fault : '', fault);
  });

test('the key of another certificate is refused', { skip: skipWithoutOpenssl }, async (context) => {
  const files = { ...makeCertificate(context), key_file: makeCertificate(context).key_file };
  const found = await readCertificate(files);
  assert.match('fault' in found ? found.fault : '', /is not the key of the certificate/);
});

test('a good pair tells its names and its end', { skip: skipWithoutOpenssl }, async (context) => {
  const files = makeCertificate(context, 'first', 30);
  chmodSync(files.key_file, 0o640);
  const found = await readCertificate(files);
  assert.ok(found.kind === 'good');
  assert.match(found.certificate.names, /DNS:localhost/);
  const days = (found.certificate.expiresAt - Date.now()) / 86_400_000;
  assert.ok(days > 29 && days < 31, `${days} days`);
  assert.equal((await readCertificate(files)).version, found.version, 'the same bytes, the same version');
  files.renew('second');
  assert.notEqual((await readCertificate(files)).version, found.version);
});
