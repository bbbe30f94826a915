// Files that are no good model, through the command and in a running worker: each is told in words, nothing is left behind,
// and what drew before goes on drawing.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { ask, startTestWorker, testSettings } from '../../test-worker.ts';
import { installedModels } from '../entries/installed.ts';
import { drawPicture } from '../golden.ts';
import { startInference } from '../inference/session.ts';
import { Library } from '../library.ts';
import type { OnnxModel } from '../onnx/model-file.ts';
import { writeModel } from '../onnx/model-file.ts';
import { bytes, int, join as joined, text } from '../onnx/wire.ts';
import { plainToon } from '../probe/plain-toon.ts';
import { modelsCommand } from './command.ts';

const good = plainToon({ layout: 'NCHW', range: [-1, 1], multiple: 4, draws: 'toon' });
const goodFile = writeModel(good);

/** The good model with more in its graph: of two messages of a kind protobuf makes one. */
const withInitializer = (...tensor: Uint8Array[]) =>
  joined(goodFile, bytes(7, bytes(5, joined(...tensor, text(8, 'huge')))));
const float = int(2, 1);
const tenGigabytes = int(1, 2_500_000_000);

const withNode = (change: (model: OnnxModel) => Partial<OnnxModel>) =>
  writeModel({ ...good, ...change(good) });

const bad: [name: string, file: Uint8Array, words: RegExp][] = [
  ['a text', Buffer.from('weights, honestly'), /no ONNX file/],
  ['nothing', Buffer.alloc(0), /no ONNX file/],
  ['a model that is cut off', goodFile.subarray(0, goodFile.length - 20), /no ONNX file/],
  [
    'data in another file',
    withInitializer(
      int(1, 4),
      float,
      bytes(13, joined(text(1, 'location'), text(2, '/etc/passwd'))),
      int(14, 1),
    ),
    /keeps data outside of its file, which is refused/,
  ],
  [
    '10 GB that are claimed and not there',
    withInitializer(tenGigabytes, float, bytes(9, new Uint8Array(16))),
    /claims more values than the file has/,
  ],
  [
    'a field of 10 GB in a file of some bytes',
    joined(goodFile, Buffer.from([0x3a, 0x80, 0xc8, 0xaf, 0xa0, 0x25])),
    /no ONNX file/,
  ],
  [
    'an operator of somebody',
    withNode(({ nodes, outputs: [output] }) => ({
      opsets: { '': 15, 'com.example': 1 },
      nodes: nodes.map((node) =>
        node.outputs[0] === output?.name
          ? { ...node, op: 'Sorcery', domain: 'com.example', inputs: node.inputs.slice(0, 1) }
          : node,
      ),
    })),
    /Sorcery/,
  ],
  [
    'two inputs',
    withNode(({ inputs, nodes, outputs: [output] }) => ({
      inputs: [...inputs, { name: 'mask', type: 'float32', dims: [1, 1, 1, 1] }],
      nodes: nodes.map((node) =>
        node.outputs[0] === output?.name ? { ...node, inputs: [node.inputs[0] ?? '', 'mask'] } : node,
      ),
    })),
    /2 inputs and 1 outputs/,
  ],
  [
    'a graph that wants a constant which it lacks',
    withNode(({ constants }) => ({ constants: new Map([...constants].slice(1)) })),
    /a generator has one tensor of each|not exist|invalid|Invalid|Missing|not in the graph|not output of any/,
  ],
];

/** Runs the command quietly, and gives what it said. */
async function models(t: TestContext, dir: string, ...args: string[]) {
  const said: string[] = [];
  const hear = (...words: unknown[]) => void said.push(words.join(' '));
  const mocks = [t.mock.method(console, 'log', hear), t.mock.method(console, 'error', hear)];
  const { models: settings } = testSettings(dir);
  const code = await modelsCommand(args, {
    models: { ...settings, dir: join(dir, 'models'), faster: false },
  });
  for (const mock of mocks) mock.mock.restore();
  return { code, said: said.join('\n') };
}

async function place(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function add(t: TestContext, dir: string, file: Uint8Array, name: string, ...more: string[]) {
  const path = join(dir, `${name}.source`);
  await writeFile(path, file);
  const words = ['--name', name, '--style', name, '--licence', 'own', '--accept-licence', '--min-side', '64'];
  return await models(t, dir, 'add', path, ...words, ...more);
}

const everything = (dir: string) =>
  Object.fromEntries(
    readdirSync(join(dir, 'models'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [path, readFileSync(path, 'base64')]),
  );

test('no bad file is added; each is told in words, at the price of no memory, and the good ones stay', async (t) => {
  const dir = await place(t);
  const first = await add(t, dir, goodFile, 'good');
  assert.equal(first.code, 0, first.said);
  const before = everything(dir);
  for (const [name, file, words] of bad) {
    await t.test(name, async (t) => {
      const rss = process.memoryUsage.rss();
      const answer = await add(t, dir, file, 'bad');
      assert.equal(answer.code, 1, answer.said);
      assert.match(answer.said, words);
      assert.doesNotMatch(answer.said, /\n\s+at /, 'no stack trace');
      assert.ok(process.memoryUsage.rss() - rss < 1e9, 'nobody believed the 10 GB');
      assert.deepEqual(everything(dir), before);
    });
  }
  const verified = await models(t, dir, 'verify');
  assert.equal(verified.code, 0, verified.said);
  assert.match(verified.said, /good +right/);
});

test('a folder of models that cannot be written is told in words', async (t) => {
  const dir = await place(t);
  await writeFile(join(dir, 'models'), 'no folder');
  const { code, said } = await add(t, dir, goodFile, 'good');
  assert.equal(code, 1, said);
  assert.match(said, /E[A-Z]+: .*models/);
  assert.doesNotMatch(said, /\n\s+at /, 'no stack trace');
});

// A file system of 128 KiB in a mount namespace of its own, which ends with the process.
const mounts =
  spawnSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs -o size=128k none /mnt'], { stdio: 'ignore' })
    .status === 0;

for (const [what, ballastKib] of [
  ['the file', 128],
  ['the manifest', 120],
] as const)
  test(`a disk that is full when ${what} is written is told in words, and nothing of the model stays`, {
    skip: !mounts && 'unshare -m with a tmpfs needs root',
  }, async (t) => {
    const dir = await place(t);
    const [file, models] = [join(dir, 'good.source'), join(dir, 'models')];
    await writeFile(file, goodFile);
    await mkdir(models);
    const words = ['add', file, '--name', 'good', '--style', 'good', '--min-side', '64'];
    const code = `
      import { modelsCommand } from ${JSON.stringify(join(PACKAGE_ROOT, 'server/model/commands/command.ts'))};
      const models = ${JSON.stringify({ ...testSettings(dir).models, dir: models, faster: false })};
      const words = ${JSON.stringify([...words, '--licence', 'own', '--accept-licence'])};
      process.exitCode = await modelsCommand(words, { models });
    `;
    const script = `mount -t tmpfs -o size=128k none ${models} &&
      head -c ${ballastKib}K /dev/zero > ${models}/ballast && "$0" "$@"; code=$?; ls -A ${models}; exit $code`;
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', code];
    const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', script, ...node], {
      cwd: PACKAGE_ROOT,
      encoding: 'utf8',
    });
    assert.equal(status, 1, stderr);
    assert.match(stderr, /ENOSPC: no space left on device.*\/models\//);
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
    assert.match(stdout, /^ballast$/m);
    assert.doesNotMatch(stdout, /^good|\.part$|\.lock$/m);
  });

test('a range that cannot be told is taken as usual, aloud; with --range nobody has to ask', async (t) => {
  const dir = await place(t);
  const same = writeModel(plainToon({ layout: 'NHWC', range: [0, 1], multiple: 1, draws: 'identity' }));
  const unsure = await add(t, dir, same, 'same');
  assert.equal(unsure.code, 0, unsure.said);
  assert.match(unsure.said, /WARNING: it is not sure .*-1 to 1 is taken/s);
  const told = await add(t, dir, same, 'told', '--range', '0,1');
  assert.equal(told.code, 0, told.said);
  assert.doesNotMatch(told.said, /sure/);
  assert.deepEqual(
    installedModels(join(dir, 'models'))
      .filter(({ embedded }) => !embedded)
      .map(({ name, input }) => [name, input.range]),
    [
      ['same', [-1, 1]],
      ['told', [0, 1]],
    ],
  );
});

const photo = () =>
  sharp(drawPicture(96, 64, 4), { raw: { width: 96, height: 64, channels: 3 } })
    .png()
    .toBuffer();

async function draw(port: number, style: string) {
  const headers = { 'content-type': 'image/png' };
  return await ask(port, `/v1/images?style=${style}`, { body: await photo(), headers });
}

test('a worker draws on when its model is damaged on disk; the next one leaves it out, says why, and draws the rest', async (t) => {
  const dir = await place(t);
  for (const name of ['one', 'two']) assert.equal((await add(t, dir, goodFile, name)).code, 0);
  const modelsDir = join(dir, 'models');
  const worker = await startTestWorker(t, { modelsDir });
  assert.equal((await draw(worker.port, 'one')).status, 200);

  const changed = Buffer.from(goodFile);
  changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
  await writeFile(join(modelsDir, 'one.onnx'), changed);
  await rm(join(modelsDir, 'two.onnx'));
  for (const style of ['one', 'two', 'meadow'])
    assert.equal((await draw(worker.port, style)).status, 200, `${style} in the running worker`);

  const verified = await models(t, dir, 'verify');
  assert.equal(verified.code, 1);
  assert.match(verified.said, /one +WRONG .*its SHA-256 is [0-9a-f]{64}, but the manifest says/);
  assert.match(verified.said, /two +WRONG .*two\.onnx.*ENOENT|two +WRONG .*no such file/);

  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const library = new Library(installedModels(modelsDir), 'meadow', inference);
  const faults = (await library.load()).map(({ message }) => message);
  assert.equal(faults.length, 2, faults.join('\n'));
  for (const fault of faults) assert.match(fault, /model (one|two) .*toonfleet models (add|verify)/);
  assert.ok(!library.list().some(({ id }) => id === 'one' || id === 'two'));

  const next = await startTestWorker(t, { modelsDir });
  const answer = await draw(next.port, 'one');
  assert.equal(answer.status, 400);
  assert.equal(answer.json().code, 'unknown_style');
  assert.equal((await draw(next.port, 'meadow')).status, 200);
});

test('a worker whose default style has no weights does not get ready, and says which model', async (t) => {
  const dir = await place(t);
  assert.equal((await add(t, dir, goodFile, 'one')).code, 0);
  const modelsDir = join(dir, 'models');
  await rm(join(modelsDir, 'one.onnx'));
  const inference = startInference((reason) => Promise.reject(reason));
  t.after(() => inference.close());
  const library = new Library(installedModels(modelsDir), 'one', inference);
  await assert.rejects(library.load(), /model one .*one\.onnx/);
});
