import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import tls from 'node:tls';
import { picture, rawExchange, startBalancer, startUpstream } from '../passage/test-upstream.ts';
import { createSecureServer } from './public-server.ts';
import { SecureDoor } from './secure-door.ts';
import { makeCertificate, skipWithoutOpenssl, type TestCertificate } from './test-certificate.ts';

const skip = skipWithoutOpenssl;

/** A balancer whose HTTPS port is open. */
async function secureFront(
  context: TestContext,
  env: Record<string, string> = {},
  files = makeCertificate(context),
) {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_BALANCER__HOST: '127.0.0.1',
    TOONFLEET_BALANCER__TLS__PORT: '0',
    TOONFLEET_BALANCER__TLS__CERT_FILE: files.cert_file,
    TOONFLEET_BALANCER__TLS__KEY_FILE: files.key_file,
    ...env,
  });
  assert.ok(balancer.secureDoor);
  await balancer.secureDoor.open();
  context.after(() => closeDoor(balancer.secureDoor));
  return { ...balancer, files, securePort: balancer.secureDoor.address?.port ?? 0 };
}

/** A door in a hurry, in front of a balancer's journey. */
async function hurriedDoor(context: TestContext, files: TestCertificate, awaitsFirst = false) {
  const upstream = await startUpstream(context);
  const { journey, lines } = await startBalancer(context, [upstream]);
  const expiries: number[] = [];
  const note = (level: string) => (fields: object, message: string) =>
    void lines.push({ ...fields, level, message });
  const door = new SecureDoor({
    files,
    port: 0,
    host: '127.0.0.1',
    awaitsFirst,
    createServer: (certificate) => createSecureServer(journey, certificate),
    onCertificate: ({ expiresAt }) => expiries.push(expiresAt),
    log: { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
    wallClock: Date.now,
    lookMs: 10,
  });
  context.after(() => closeDoor(door));
  /** Resolves with the next line that says this. */
  const says = async (message: string) => {
    for (;;) {
      const at = lines.findIndex((line) => line.message === message);
      if (at >= 0) return lines.splice(at, 1)[0];
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { door, says, expiries };
}

function closeDoor(door: SecureDoor | undefined): void {
  door?.stopAccepting();
  door?.closeAll();
}

async function connect(port: number, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

const subjectOf = async (port: number) => {
  const socket = await connect(port);
  const subject = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return subject;
};

interface AskOptions extends https.RequestOptions {
  readonly body?: Buffer;
}

async function ask(port: number, path: string, { body, ...options }: AskOptions = {}) {
  const request = https.request({ port, host: '127.0.0.1', path, rejectUnauthorized: false, ...options });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode: status, headers } = response;
  return { status, headers, body: Buffer.concat(chunks), reused: request.reusedSocket };
}

test('a picture comes back over HTTPS, with TLS 1.2 or 1.3 and forward secrecy', {
  skip,
}, async (context) => {
  const { securePort } = await secureFront(context);
  const photo = picture('over TLS');
  const headers = { 'content-type': 'image/png', 'content-length': photo.length };
  const answer = await ask(securePort, '/v1/images', { method: 'POST', headers, body: photo });
  assert.equal(answer.status, 200);
  assert.ok(answer.body.equals(photo));
  assert.equal(answer.headers['strict-transport-security'], undefined, 'only when it is set');
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await connect(securePort, {
      minVersion: version,
      maxVersion: version,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    assert.equal(socket.getProtocol(), version);
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.destroy();
  }
});

test('old TLS and ciphers without forward secrecy are refused', { skip }, async (context) => {
  const { securePort } = await secureFront(context);
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await assert.rejects(connect(securePort, old));
  await assert.rejects(connect(securePort, { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }));
  assert.equal((await ask(securePort, '/live')).status, 200);
});

test('plain HTTP and rubbish at the HTTPS port end their own connection and nothing else', {
  skip,
}, async (context) => {
  const { securePort } = await secureFront(context);
  for (const bytes of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', Buffer.alloc(3000, 7), '\x16\x03\x01'])
    assert.doesNotMatch(await rawExchange(securePort, bytes, true), /HTTP\/1/);
  assert.equal((await ask(securePort, '/live')).status, 200);
});

test('a broken request inside TLS gets its answer like on the plain port', { skip }, async (context) => {
  const { securePort } = await secureFront(context);
  const socket = await connect(securePort);
  socket.write('get / HTTP/1.1\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/);
  socket.destroy();
});

test('a renewed certificate is taken up, and connections that exist go on', { skip }, async (context) => {
  const files = makeCertificate(context, 'first');
  const { door, says, expiries } = await hurriedDoor(context, files);
  await door.open();
  const port = door.address?.port ?? 0;
  assert.equal(await subjectOf(port), 'first');
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  assert.equal((await ask(port, '/live', { agent })).status, 200);

  files.renew('second', 60);
  await says('certificate renewed');
  const { status, reused } = await ask(port, '/live', { agent });
  assert.deepEqual([status, reused], [200, true], 'the old connection still serves');
  assert.equal(await subjectOf(port), 'second');
  assert.equal(expiries.length, 2);
  assert.ok((expiries[1] ?? 0) > (expiries[0] ?? 0));
  agent.destroy();
});

test('a broken or expired new certificate is told, and the old one stays until a good one comes', {
  skip,
}, async (context) => {
  const files = makeCertificate(context, 'first');
  const { door, says } = await hurriedDoor(context, files);
  await door.open();
  const port = door.address?.port ?? 0;

  writeFileSync(files.cert_file, 'half a file');
  assert.match(String((await says('the old certificate stays'))?.fault), /holds no certificate/);
  assert.equal(await subjectOf(port), 'first');

  files.renew('expired', -1);
  assert.match(String((await says('the old certificate stays'))?.fault), /has expired/);
  assert.equal(await subjectOf(port), 'first');

  files.renew('third');
  await says('certificate renewed');
  assert.equal(await subjectOf(port), 'third');
});

test('with an ACME client under way the port opens when the first certificate comes', {
  skip,
}, async (context) => {
  const files = makeCertificate(context, 'first');
  const away = `${files.key_file}.away`;
  renameSync(files.key_file, away);
  const { door, says } = await hurriedDoor(context, files, true);
  await door.open();
  assert.equal(door.address?.port, undefined);
  renameSync(away, files.key_file);
  await says('HTTPS is open');
  assert.equal(await subjectOf(door.address?.port ?? 0), 'first');
});

test('without an ACME client a missing certificate stops the start, and so does a taken port', {
  skip,
}, async (context) => {
  const files = makeCertificate(context);
  const missing = await hurriedDoor(context, { ...files, cert_file: join(files.folder, 'none.pem') });
  await assert.rejects(
    missing.door.open(),
    /balancer\.tls\.cert_file: .*none\.pem cannot be read \(ENOENT\)/,
  );
  const { securePort } = await secureFront(context, {}, files);
  const twin = new SecureDoor({
    files,
    port: securePort,
    host: '127.0.0.1',
    awaitsFirst: false,
    createServer: (certificate) =>
      createSecureServer({ handle: async () => {}, underWay: () => 0 }, certificate),
    onCertificate: () => {},
    log: { debug() {}, info() {}, warn() {}, error() {} },
    wallClock: Date.now,
  });
  context.after(() => closeDoor(twin));
  await assert.rejects(twin.open(), /balancer\.tls\.port: port \d+ .* TOONFLEET_BALANCER__TLS__PORT=/);
});

test('with redirect the plain port sends clients to HTTPS, and keeps checks and challenges', {
  skip,
}, async (context) => {
  const files = makeCertificate(context);
  const tokens = join(files.folder, '.well-known/acme-challenge');
  mkdirSync(tokens, { recursive: true });
  writeFileSync(join(tokens, 'a-Token_1'), 'a-Token_1.digest');
  const { port, securePort } = await secureFront(
    context,
    {
      TOONFLEET_BALANCER__TLS__REDIRECT: 'true',
      TOONFLEET_BALANCER__TLS__HSTS: '1h',
      TOONFLEET_BALANCER__TLS__ACME_DIR: files.folder,
    },
    files,
  );
  const plain = (head: string) =>
    rawExchange(port, `${head} HTTP/1.1\r\nHost: pictures.example:${port}\r\nConnection: close\r\n\r\n`);
  const page = await plain('GET /?style=sky');
  assert.match(page, /^HTTP\/1\.1 308 /);
  assert.ok(page.includes(`location: https://pictures.example:${securePort}/?style=sky\r\n`), page);
  assert.doesNotMatch(page, /strict-transport-security/i, 'RFC 6797: never over plain HTTP');
  const upload = await rawExchange(
    port,
    'POST /v1/images HTTP/1.1\r\nHost: pictures.example\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabcdefghi',
  );
  assert.match(upload, /^HTTP\/1\.1 308 /);
  for (const path of ['/live', '/ready', '/health'])
    assert.match(await plain(`GET ${path}`), /^HTTP\/1\.1 200 /, path);
  assert.match(
    await plain('GET /.well-known/acme-challenge/a-Token_1'),
    /^HTTP\/1\.1 200 [\s\S]*\r\n\r\na-Token_1\.digest$/,
  );
  for (const token of ['none', '..%2fcert.pem', '', 'a.b'])
    assert.match(await plain(`GET /.well-known/acme-challenge/${token}`), /^HTTP\/1\.1 404 /, token);
  const secure = await ask(securePort, '/');
  assert.equal(secure.status, 200);
  assert.equal(secure.headers['strict-transport-security'], 'max-age=3600');
  assert.match(await rawExchange(port, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*HTTPS/);
});

test('what a trusted proxy brings is not sent round in circles', { skip }, async (context) => {
  const { port } = await secureFront(context, {
    TOONFLEET_BALANCER__TLS__REDIRECT: 'true',
    TOONFLEET_BALANCER__TRUSTED_PROXIES: '["127.0.0.1"]',
  });
  assert.equal((await fetch(`http://127.0.0.1:${port}/`, { redirect: 'manual' })).status, 200);
});

test('without a webroot in the settings there are no challenges', { skip }, async (context) => {
  const { port } = await secureFront(context);
  const answer = await rawExchange(
    port,
    'GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 404 /);
});
