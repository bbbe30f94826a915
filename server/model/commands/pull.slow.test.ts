// `models pull` as an operator runs it, against a server on loopback that stands for a mirror or a proxy.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { testSettings } from '../../test-worker.ts';
import { addedManifestPath, readManifest } from '../entries/manifest.ts';
import { good } from '../entries/test-manifest.ts';
import { writeModel } from '../onnx/model-file.ts';
import { plainToon } from '../probe/plain-toon.ts';
import { modelsCommand } from './command.ts';

const weights = Buffer.from(
  writeModel(plainToon({ layout: 'NHWC', range: [-1, 1], multiple: 8, draws: 'toon' })),
);
const sha256 = createHash('sha256').update(weights).digest('hex');
const PATH = '/TachibanaYoshino/AnimeGANv3/releases/download/v1.1.0/AnimeGANv3_Shinkai_37.onnx';
const NAME = 'animeganv3-shinkai';

/** Gives the weights for any path; a large file of the same name where `padding` says so. */
async function serve(t: TestContext, padding = 0) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    response.writeHead(200, { etag: '"1"', 'content-length': weights.length + padding });
    response.end(Buffer.concat([weights, Buffer.alloc(padding)]));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, port: (server.address() as AddressInfo).port };
}

async function operator(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const models = join(dir, 'models');
  const pull = async (settings: { mirrors?: string[]; proxy?: string }, ...args: string[]) => {
    const said: string[] = [];
    const hear = (...words: unknown[]) => void said.push(words.join(' '));
    const mocks = [
      t.mock.method(console, 'log', hear),
      t.mock.method(console, 'error', hear),
      t.mock.method(process.stderr, 'write', (text: string) => said.push(text) > 0),
    ];
    const own = { ...testSettings(dir).models, dir: models, faster: false, mirrors: [], proxy: '' };
    const code = await modelsCommand(['pull', ...args], { models: { ...own, ...settings } });
    for (const mock of mocks) mock.mock.restore();
    return { code, said: said.join('\n') };
  };
  return { pull, models };
}

test('a mirror is asked for the published address, the digest is recorded and said, and the model is there', async (t) => {
  const { asked, port } = await serve(t);
  const { pull, models } = await operator(t);
  const answer = await pull({ mirrors: [`http://127.0.0.1:${port}/m/`] }, NAME, '--accept-licence');
  assert.equal(answer.code, 0, answer.said);
  assert.deepEqual(
    asked.map(({ url }) => url),
    [`/m/github.com${PATH}`],
  );
  assert.match(answer.said, new RegExp(`SHA-256 was not known before, and is recorded now: ${sha256}`));
  const [entry] = readManifest(addedManifestPath(models)).models;
  assert.ok(entry?.kind === 'generator');
  assert.deepEqual(
    [entry.name, entry.sha256, entry.size_multiple, entry.styles[0]?.id, entry.input.range],
    [NAME, sha256, 8, 'shinkai', [-1, 1]],
  );
  assert.deepEqual(readdirSync(models).sort(), [`${NAME}.onnx`, 'manifest.yaml', 'thumbnails']);
  const again = await pull({ mirrors: [`http://127.0.0.1:${port}/m/`] }, NAME, '--accept-licence');
  assert.equal(again.code, 1);
  assert.match(again.said, /is installed already/);
});

test('with --sha256 other bytes are refused and nothing stays; the right ones are not called unknown', async (t) => {
  const { port } = await serve(t);
  const { pull, models } = await operator(t);
  // Behind the mirror stands a proxy where nobody listens, so that nobody else is asked.
  const mirror = await serve(t);
  const lost = { mirrors: [], proxy: 'http://127.0.0.1:1' };
  const unreachable = await pull(lost, NAME, '--accept-licence');
  assert.equal(unreachable.code, 1);
  assert.match(unreachable.said, /nobody listens there/);
  const through = { mirrors: ['http://mirror.invalid'], proxy: `http://127.0.0.1:${mirror.port}` };
  const wrong = await pull(through, NAME, '--sha256', 'a'.repeat(64), '--accept-licence');
  assert.equal(wrong.code, 1, wrong.said);
  assert.match(wrong.said, new RegExp(`its SHA-256 is ${sha256}, not a{64}; what came was thrown away`));
  assert.deepEqual(readdirSync(models), []);

  const settings = { mirrors: [`http://127.0.0.1:${port}`] };
  const right = await pull(settings, NAME, '--sha256', sha256, '--accept-licence');
  assert.equal(right.code, 0, right.said);
  assert.doesNotMatch(right.said, /was not known before/);
  assert.ok(existsSync(join(models, `${NAME}.onnx`)));
});

test('bytes that are not those of a pinned model are thrown away without anybody asking for that', async (t) => {
  const { port } = await serve(t);
  const { pull, models } = await operator(t);
  const through = { mirrors: ['http://mirror.invalid'], proxy: `http://127.0.0.1:${port}` };
  const answer = await pull(through, 'animeganv3-hayao', '--accept-licence');
  assert.equal(answer.code, 1, answer.said);
  assert.match(answer.said, new RegExp(`its SHA-256 is ${sha256}, not 95ba7b2190.*thrown away`));
  assert.deepEqual(readdirSync(models), []);
});

test('nobody is asked for weights whose style cannot be entered', async (t) => {
  const { asked, port } = await serve(t);
  const { pull, models } = await operator(t);
  await mkdir(models);
  const other = { ...good, name: 'mine', styles: [{ id: 'shinkai', title: 'Mine' }] };
  await writeFile(addedManifestPath(models), JSON.stringify({ models: [other] }));
  const settings = { mirrors: [`http://127.0.0.1:${port}`] };
  const meets = await pull(settings, NAME, '--accept-licence');
  assert.equal(meets.code, 1);
  assert.match(meets.said, /mine draws the style shinkai already; choose another --style/);
  const malformed = await pull(settings, NAME, '--accept-licence', '--style', 'Not an id');
  assert.equal(malformed.code, 2);
  assert.equal(asked.length, 0);
  const free = await pull(settings, NAME, '--accept-licence', '--style', 'shinkai_2');
  assert.equal(free.code, 0, free.said);
  const entry = readManifest(addedManifestPath(models)).models.at(-1);
  assert.ok(entry?.kind === 'generator');
  assert.deepEqual([entry.styles[0]?.id, entry.styles[0]?.title], ['shinkai_2', 'Shinkai']);
});

test('of two pulls of one model at once one brings it, and the other asks nobody', async (t) => {
  const { asked, port } = await serve(t);
  const { pull, models } = await operator(t);
  const settings = { mirrors: [`http://127.0.0.1:${port}`] };
  const both = await Promise.all([1, 2].map(() => pull(settings, NAME, '--accept-licence')));
  assert.deepEqual(both.map(({ code }) => code).sort(), [0, 1]);
  assert.equal(asked.length, 1, 'nobody else wrote into what was coming');
  assert.deepEqual(readdirSync(models).sort(), [`${NAME}.onnx`, 'manifest.yaml', 'thumbnails']);
});

test('models.proxy is what everything goes through, also the way to a mirror', async (t) => {
  const { asked, port } = await serve(t);
  const { pull } = await operator(t);
  const settings = { mirrors: ['http://mirror.invalid/models'], proxy: `http://127.0.0.1:${port}` };
  const answer = await pull(settings, NAME, '--accept-licence');
  assert.equal(answer.code, 0, answer.said);
  assert.equal(asked[0]?.url, `http://mirror.invalid/models/github.com${PATH}`);
});

test('without an accepted licence nobody is asked, and the licence is shown', async (t) => {
  const { asked, port } = await serve(t);
  const { pull, models } = await operator(t);
  const answer = await pull({ mirrors: [`http://127.0.0.1:${port}`] }, NAME);
  assert.equal(answer.code, 2);
  assert.match(answer.said, /non-commercial \(TachibanaYoshino\); https:\/\/github\.com/);
  assert.match(answer.said, /--accept-licence/);
  assert.deepEqual([asked.length, existsSync(models)], [0, false]);
});

test('the catalogue invents no digest: it says that the first pull records it', async (t) => {
  const { pull } = await operator(t);
  const answer = await pull({}, '--json');
  const rows = JSON.parse(answer.said) as { name: string; from: string; digest: string }[];
  for (const { name, from, digest } of rows) {
    if (from.startsWith('(')) assert.equal(digest, '', name);
    else assert.match(digest, /^(not pinned: recorded at the first pull|[0-9a-f]{64})$/, name);
  }
});

// A file system of 128 KiB in a mount namespace of its own, which ends with the process.
const mounts =
  spawnSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs -o size=128k none /mnt'], { stdio: 'ignore' })
    .status === 0;

test('a disk that is full ends the pull with words; what came stays, and nothing is half installed', {
  skip: !mounts && 'unshare -m with a tmpfs needs root',
}, async (t) => {
  const { port } = await serve(t, 600_000);
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const script = `mount -t tmpfs -o size=128k none ${dir} && "$0" "$@"; code=$?; ls -A ${dir}; exit $code`;
  const code = `
    import { modelsCommand } from ${JSON.stringify(join(PACKAGE_ROOT, 'server/model/commands/command.ts'))};
    const models = { dir: ${JSON.stringify(dir)}, default_style: 'meadow', faster: false, proxy: '', load: [],
      mirrors: ['http://127.0.0.1:${port}'], execution_providers: ['cpu'] };
    process.exitCode = await modelsCommand(['pull', '${NAME}', '--accept-licence'], { models });
  `;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', code];
  const child = spawn('unshare', ['-m', 'sh', '-c', script, ...node], { cwd: PACKAGE_ROOT });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  child.stderr.on('data', (text) => {
    said += text;
  });
  const [status] = (await once(child, 'close')) as [number];
  assert.equal(status, 1, said);
  assert.match(said, /disk of .*animeganv3-shinkai\.pulled is full; what came stays/);
  assert.doesNotMatch(said, /\n\s+at /, 'no stack trace');
  assert.match(said, /animeganv3-shinkai\.pulled\.part\n/);
  assert.doesNotMatch(said, /manifest\.yaml|animeganv3-shinkai\.onnx/);
});
