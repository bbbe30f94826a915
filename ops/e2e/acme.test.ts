// A certificate as from Let's Encrypt: a real ACME authority (Pebble) asks the real balancer for its proof, a real ACME client
// (lego) brings the certificate, and the balancer takes it up, the first time and after a renewal.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import tls from 'node:tls';
import { freePort } from '../ports.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { selfSigned } from './certificate.ts';
import { until } from './cluster.ts';

const TOOLS = process.env.TOOLS_DIR ?? join(PACKAGE_ROOT, '.tools');
const NAME = 'pictures.example';

const missing = [
  ...['pebble', 'pebble-challtestsrv'].filter((tool) => !existsSync(join(TOOLS, tool))),
  ...['lego', 'openssl'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined),
];
const skip = missing.length > 0 && `no ${missing.join(', ')}: run .ci/install-acme and .ci/install-system`;

/** Starts a program that ends with the test. */
function start(context: TestContext, env: NodeJS.ProcessEnv, program: string, ...args: string[]) {
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  context.after(() => end(child));
  return { child, said: () => said };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await exited;
}

/** Pebble and its name server, for which every name is this machine. */
async function startAuthority(context: TestContext, dir: string, httpPort: number) {
  const [listen, management, dns, dnsManagement] = await Promise.all(
    [0, 1, 2, 3].map(() => freePort('127.0.0.1')),
  );
  const { cert, key } = selfSigned(dir, 'authority');
  const config = join(dir, 'pebble.json');
  writeFileSync(
    config,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${listen}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: cert,
        privateKey: key,
        httpPort,
        tlsPort: 1,
        ocspResponderURL: '',
        externalAccountBindingRequired: false,
      },
    }),
  );
  const off = ['-doh', '', '-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', ''];
  const names = ['-dnsserver', `127.0.0.1:${dns}`, '-management', `127.0.0.1:${dnsManagement}`];
  start(context, {}, join(TOOLS, 'pebble-challtestsrv'), ...names, ...off);
  // Pebble likes to be slow and to fail now and then, which is for testing clients.
  const calm = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' };
  const pebble = start(
    context,
    calm,
    join(TOOLS, 'pebble'),
    '-config',
    config,
    '-dnsserver',
    `127.0.0.1:${dns}`,
  );
  const directory = `https://127.0.0.1:${listen}/dir`;
  await until(
    () => reaches(directory),
    15_000,
    () => `no authority:\n${pebble.said()}`,
  );
  return { directory, cert, said: pebble.said };
}

function reaches(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    https
      // RFC 8555, 6.1: an authority may refuse who does not say what he is.
      .get(
        url,
        { rejectUnauthorized: false, agent: false, headers: { 'user-agent': 'a test' } },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode === 200);
        },
      )
      .on('error', () => resolve(false));
  });
}

/** The certificate that is served, or undefined while none is. */
function servedAt(port: number): Promise<X509Certificate | undefined> {
  return new Promise((resolve) => {
    const socket = tls.connect({ port, host: '127.0.0.1', servername: NAME, rejectUnauthorized: false });
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate());
      socket.destroy();
    });
    socket.once('error', () => resolve(undefined));
  });
}

test('an ACME client brings the first certificate and renews it, and nothing is restarted', {
  skip,
}, async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'acme-'));
  context.after(() => rmSync(dir, { recursive: true, force: true }));
  const webroot = join(dir, 'webroot');
  mkdirSync(webroot);
  const [port, securePort, adminPort] = await Promise.all([0, 1, 2].map(() => freePort('127.0.0.1')));
  const authority = await startAuthority(context, dir, port ?? 0);
  const balancer = start(
    context,
    {
      TOONFLEET_DATA_DIR: dir,
      TOONFLEET_NODE__NAME: 'front',
      TOONFLEET_UPSTREAMS: '[{"url":"http://127.0.0.1:9"}]',
      TOONFLEET_BALANCER__HOST: '127.0.0.1',
      TOONFLEET_BALANCER__PORT: String(port),
      TOONFLEET_BALANCER__ADMIN_PORT: String(adminPort),
      TOONFLEET_BALANCER__TLS__PORT: String(securePort),
      TOONFLEET_BALANCER__TLS__ACME_DIR: webroot,
      TOONFLEET_BALANCER__TLS__CERT_FILE: join(dir, `lego/certificates/${NAME}.crt`),
      TOONFLEET_BALANCER__TLS__KEY_FILE: join(dir, `lego/certificates/${NAME}.key`),
      TOONFLEET_BALANCER__TLS__REDIRECT: 'true',
    },
    process.execPath,
    '--import',
    'tsx',
    join(PACKAGE_ROOT, 'balancer/main.ts'),
  );
  const url = `http://127.0.0.1:${port}`;
  const page = () =>
    fetch(url, { redirect: 'manual' }).then(
      ({ status }) => status,
      () => 0,
    );
  await until(
    async () => (await page()) !== 0,
    20_000,
    () => `no balancer:\n${balancer.said()}`,
  );
  assert.equal(await page(), 200, 'without a certificate nobody is sent to HTTPS');
  assert.equal(await servedAt(securePort ?? 0), undefined);

  const lego = async (...words: string[]) => {
    const options = [
      '--accept-tos',
      '--email',
      'you@pictures.example',
      '--domains',
      NAME,
      '--path',
      join(dir, 'lego'),
    ];
    const ran = start(
      context,
      { LEGO_CA_CERTIFICATES: authority.cert },
      'lego',
      ...options,
      ...['--server', authority.directory, '--http', '--http.webroot', webroot],
      ...words,
    );
    const [code] = (await once(ran.child, 'exit')) as [number];
    assert.equal(code, 0, `${ran.said()}\n${authority.said()}`);
  };

  await lego('run');
  let first: X509Certificate | undefined;
  const open = async () => {
    first = await servedAt(securePort ?? 0);
    return first !== undefined;
  };
  await until(open, 20_000, () => `no HTTPS:\n${balancer.said()}`);
  assert.match(first?.issuer ?? '', /Pebble/);
  assert.match(first?.subjectAltName ?? '', new RegExp(NAME));
  assert.equal(await page(), 308, 'now the page is at HTTPS');

  // Without a terminal lego waits for some minutes, so that not all the world renews at once.
  await lego('renew', '--days', '100000', '--no-random-sleep');
  const renewed = async () => (await servedAt(securePort ?? 0))?.serialNumber !== first?.serialNumber;
  await until(renewed, 20_000, () => `the old one is still served:\n${balancer.said()}`);
  assert.match((await servedAt(securePort ?? 0))?.issuer ?? '', /Pebble/);
  assert.equal(balancer.child.exitCode, null, 'the same process');
});
