// A model is optimised by the command that an operator uses, and a worker draws with what came out of it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { enter } from '../entries/enter.ts';
import { installedModels } from '../entries/installed.ts';
import { addedEntries, addedManifestPath, readManifest } from '../entries/manifest.ts';
import { drawPicture, goldenInput, judge } from '../golden.ts';
import { startInference } from '../inference/session.ts';
import { Library } from '../library.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';
import { NO_CHOICES } from '../variants/choices.ts';
import { modelsCommand } from './command.ts';

const SIDE = 64;

async function withModel(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-optimize-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const photos = join(dir, 'photos');
  await mkdir(photos);
  for (const seed of [1, 2, 3, 4]) {
    const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
    await sharp(drawPicture(SIDE, SIDE, seed), { raw })
      .png()
      .toFile(join(photos, `${seed}.png`));
  }
  const file = join(dir, 'source.onnx');
  await writeFile(file, writeModel(animeganV2(5, { widths: [16, 32, 32, 64], residuals: 1 })));
  const settings = {
    models: {
      dir: join(dir, 'models'),
      default_style: 'small',
      lighter_style: '',
      faster: false,
      execution_providers: ['cpu' as const],
      mirrors: [],
      proxy: '',
      load: [],
    },
  };
  const said: string[] = [];
  const hear = (...words: unknown[]) => void said.push(words.join(' '));
  const models = async (...args: string[]) => {
    const mocks = [t.mock.method(console, 'log', hear), t.mock.method(console, 'error', hear)];
    const code = await modelsCommand(args, settings);
    for (const mock of mocks) mock.mock.restore();
    return { code, said: said.splice(0).join('\n') };
  };
  const added = ['--name', 'small', '--style', 'small', '--multiple', '4', '--min-side', `${SIDE}`];
  assert.equal((await models('add', file, ...added, '--licence', 'own', '--accept-licence')).code, 0);
  return { models, photos, dir: settings.models.dir };
}

test('of two that make one variant at the same time, the second is refused and says why', async (t) => {
  const { models, dir } = await withModel(t);
  const order = ['optimize', 'small', '--size', `${SIDE}`, '--least-ratio', '0'] as const;
  const both = await Promise.all([models(...order), models(...order)]);
  assert.deepEqual(both.map(({ code }) => code).sort(), [0, 1]);
  const said = both.map((each) => each.said).join('\n');
  assert.match(said, /optimising small to pixels/);
  const [entry] = readManifest(addedManifestPath(dir)).models;
  const [variant] = (entry?.kind === 'generator' && entry.variants) || [];
  const file = readFileSync(join(dir, variant?.file ?? ''));
  assert.equal(createHash('sha256').update(file).digest('hex'), variant?.sha256);
  // Nobody has the lock any more.
  const again = await models(...order);
  assert.equal(again.code, 0, again.said);
});

test('an int8 variant is made, shown, entered, and drawn with', async (t) => {
  const { models, photos, dir } = await withModel(t);
  const made = await models(
    'optimize',
    'small',
    '--int8',
    '--photos',
    photos,
    '--size',
    `${SIDE}`,
    '--psnr',
    '30',
    // What is tried here is not its speed, which a busy machine tells wrongly.
    '--least-ratio',
    '0',
  );
  assert.equal(made.code, 0, made.said);
  assert.match(made.said, /PSNR [\d.]+ dB, SSIM 0\.\d+/);
  assert.match(made.said, /times as fast here/);
  const [entry] = readManifest(addedManifestPath(dir)).models;
  assert.ok(entry?.kind === 'generator');
  assert.deepEqual(
    entry.variants?.map(({ name, file }) => [name, file]),
    [['int8', 'small.int8.onnx']],
  );
  assert.ok(existsSync(join(dir, 'small.int8.onnx')));
  assert.match((await models('list')).said, /small +small +f32 int8/);

  const inference = startInference((reason) => {
    throw reason;
  });
  t.after(() => inference.close());
  const installed = installedModels(dir).filter(({ name }) => name === 'small');
  const remembered = { ...NO_CHOICES, of: () => 'int8' };
  const library = new Library(installed, 'small', inference, remembered);
  assert.deepEqual(await library.load(), []);
  const { model } = library.style(undefined);
  assert.ok(model.kind === 'generator');
  assert.equal(model.variant, 'int8');
  assert.equal(judge(await inference.run(model, goldenInput(model, 1)), model.golden).kind, 'right');
});

test('a variant is not written over the file of another model', async (t) => {
  const { models, dir } = await withModel(t);
  const [small] = addedEntries(dir);
  assert.ok(small?.kind === 'generator');
  const other = { ...small, name: 'small.pixels', file: 'small.pixels.onnx', styles: [] };
  await enter(other, [], dir);
  await writeFile(join(dir, other.file), 'its weights');
  const { code, said } = await models('optimize', 'small', '--size', `${SIDE}`, '--least-ratio', '0');
  assert.equal(code, 1, said);
  assert.match(said, /small\.pixels\.onnx is a file of small\.pixels already/);
  assert.equal(readFileSync(join(dir, other.file), 'utf8'), 'its weights');
});

test('what cannot be optimised is told, and nothing is written', async (t) => {
  const { models, photos, dir } = await withModel(t);
  const before = readFileSync(addedManifestPath(dir), 'utf8');
  const cases: [args: string[], code: number, words: RegExp][] = [
    [['optimize'], 2, /one NAME/],
    [['optimize', 'nothing'], 1, /no model nothing is installed/],
    [['optimize', 'meadow', '--int8', '--photos', photos], 1, /takes and gives bytes already/],
    [['optimize', 'small', '--int8'], 1, /--photos/],
    [['optimize', 'small', '--int8', '--photos', '/nowhere'], 1, /cannot be read/],
    [['optimize', 'small', '--int8', '--photos', dir], 1, /no JPEG, PNG or WebP/],
    [
      ['optimize', 'small', '--int8', '--photos', photos, '--size', '64', '--psnr', '90'],
      1,
      /dB|stays? float/,
    ],
  ];
  for (const [args, code, words] of cases) {
    const result = await models(...args);
    assert.equal(result.code, code, `${args.join(' ')}: ${result.said}`);
    assert.match(result.said, words);
  }
  assert.equal(readFileSync(addedManifestPath(dir), 'utf8'), before);
});
