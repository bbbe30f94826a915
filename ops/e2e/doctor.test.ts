import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { parse, stringify } from 'yaml';
import { PACKAGE_ROOT } from '../process/package.ts';
import { selfSigned, skipWithoutOpenssl } from './certificate.ts';
import { site } from './cluster.ts';
import { examine, single, wrong } from './examination.ts';

test('a VM where nothing runs yet and all is well gets a clean bill', async (t) => {
  const { code, findings } = await examine(await site(t));
  assert.deepEqual(
    wrong(findings).filter(({ verdict }) => verdict === 'bad'),
    [],
  );
  assert.equal(code, 0);
});

test('a port that another program has is told with that program', async (t) => {
  const at = await site(t);
  const server = createServer().listen(Number(new URL(at.url).port), '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { code, findings } = await examine(at);
  assert.equal(code, 1);
  single(findings, 'ports', 'bad', new RegExp(`balancer\\.port.*\\(process ${process.pid}\\)`));
});

test('settings that are wrong are findings like any other', async (t) => {
  const { code, findings } = await examine(await site(t), { TOONFLEET_BALANCER__ORDER: 'best' });
  assert.equal(code, 1);
  single(findings, 'settings', 'bad', /balancer\.order: found "best"/);
});

test('a certificate that has expired, and a key of another one, are told', {
  skip: skipWithoutOpenssl,
}, async (t) => {
  const at = await site(t);
  const [own, other] = [selfSigned(at.cwd), selfSigned(at.cwd, 'other')];
  const tls = (cert: string, key: string) => ({
    TOONFLEET_BALANCER__TLS__CERT_FILE: cert,
    TOONFLEET_BALANCER__TLS__KEY_FILE: key,
    TOONFLEET_BALANCER__TLS__PORT: '0',
  });
  single((await examine(at, tls(own.cert, other.key))).findings, 'certificate', 'bad', /is not the key/);
  single((await examine(at, tls(own.cert, own.key))).findings, 'certificate', 'warn', /expires in [12] days/);
  const old = join(at.cwd, 'old.pem');
  const request = join(at.cwd, 'old.csr');
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  openssl('req', '-new', '-key', own.key, '-subj', '/CN=localhost', '-out', request);
  openssl('x509', '-req', '-in', request, '-signkey', own.key, '-days', '-1', '-out', old);
  const { code, findings } = await examine(at, tls(old, own.key));
  single(findings, 'certificate', 'bad', /expired on/);
  assert.equal(code, 1);
});

test('a model file in which one byte has changed is told by its name', async (t) => {
  const at = await site(t);
  const dir = join(at.cwd, 'models');
  mkdirSync(dir);
  const file = join(PACKAGE_ROOT, 'server/models/embedded/sky.onnx');
  const manifest = parse(readFileSync(join(PACKAGE_ROOT, 'server/models/manifest.yaml'), 'utf8'));
  const sky = manifest.models.find(({ name }: { name: string }) => name === 'sky');
  const dawn = { ...sky, name: 'dawn', file: 'dawn.onnx', styles: [{ id: 'dawn', title: 'Dawn' }] };
  writeFileSync(join(dir, 'manifest.yaml'), stringify({ models: [dawn] }));
  const bytes = readFileSync(file);
  writeFileSync(join(dir, 'dawn.onnx'), bytes);
  const env = { TOONFLEET_MODELS__DIR: dir };
  assert.deepEqual(
    (await examine(at, env)).findings.filter(({ check, verdict }) => check === 'models' && verdict !== 'ok'),
    [],
  );
  bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
  writeFileSync(join(dir, 'dawn.onnx'), bytes);
  const { code, findings } = await examine(at, env);
  assert.equal(code, 1);
  single(findings, 'models', 'bad', /^dawn: .*dawn\.onnx is not the file of the manifest/);
});

const canMount = spawnSync('unshare', ['--mount', 'true']).status === 0;
const small = { skip: !canMount && 'mounting needs root' };
const onTmpfs = (options: string, folder: string) => [
  'unshare',
  '--mount',
  'sh',
  '-c',
  `mount -t tmpfs -o ${options} none '${folder}' && exec "$@"`,
  'sh',
];

test(
  'a disk that is as good as full, one without inodes and one that cannot be written are told',
  small,
  async (t) => {
    const at = await site(t);
    const data = join(at.cwd, 'data');
    mkdirSync(data);
    const low = await examine(at, {}, onTmpfs('size=64m', data));
    assert.equal(low.code, 1);
    single(low.findings, 'disk', 'bad', /of 67 MB free/);
    const inodes = await examine(at, {}, onTmpfs('size=4g,nr_inodes=500', data));
    single(inodes.findings, 'disk', 'bad', /inodes free/);
    const fixed = await examine(at, {}, onTmpfs('size=4g,ro', data));
    assert.equal(fixed.code, 1);
    const folders = wrong(fixed.findings).filter(({ check }) => check === 'folder');
    assert.match(folders[0]?.found ?? '', /data cannot be written .*EROFS/);
  },
);

test('limits below what a front needs, and a time zone that is none, are told', async (t) => {
  const at = await site(t);
  const limited = await examine(at, {}, ['prlimit', '--nofile=512', '--']);
  single(limited.findings, 'open files', 'warn', /may open 512/);
  single((await examine(at, { TZ: 'Asia/Shanghia' })).findings, 'time zone', 'bad', /TZ=Asia\/Shanghia/);
});
