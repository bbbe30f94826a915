import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { testSettings } from '../../test-worker.ts';
import { enter } from '../entries/enter.ts';
import { addedEntries, addedManifestPath } from '../entries/manifest.ts';
import { modelEntrySchema } from '../entries/model-entry.ts';
import { PRESETS } from '../entries/presets.ts';
import { folder, good } from '../entries/test-manifest.ts';
import { modelsCommand } from './command.ts';

const variant = { name: 'int8', file: 'cute.int8.onnx', sha256: good.sha256, psnr: 40, ssim: 0.99, ratio: 2 };
const thumbnail = 'thumbnails/cute.webp';
const cute = { ...good, styles: [{ id: 'cute', title: 'Cute', thumbnail }], variants: [variant] };
/** The same weights, fed otherwise. */
const dark = {
  ...good,
  name: 'dark',
  output: good.input,
  channels: 'BGR',
  styles: [{ id: 'dark', title: 'Dark' }],
};
const finder = {
  ...PRESETS['retinaface-mobilenet'],
  ...{ name: 'finder', file: 'finder.onnx', kind: 'detector', licence: 'MIT' },
  ...{ sha256: good.sha256, golden: good.golden },
};
const portrait = {
  ...{ name: 'portrait', kind: 'face-composite', detector: 'finder', face: 'cute', background: 'meadow' },
  mask: { file: 'portrait.mask', sha256: good.sha256 },
  styles: [{ id: 'portrait', title: 'Portrait' }],
};

/** A folder of models with the files that these entries name, and the command in it. */
function operator(t: TestContext, entries: readonly object[], env: Record<string, string> = {}) {
  const dir = folder(t, JSON.stringify({ models: entries }));
  mkdirSync(join(dir, 'thumbnails'));
  for (const file of ['cute.onnx', 'cute.int8.onnx', thumbnail, 'finder.onnx', 'portrait.mask'])
    writeFileSync(join(dir, file), file);
  const settings = testSettings(dir, { TOONFLEET_MODELS__DIR: dir, ...env });
  const remove = async (...args: string[]) => {
    const said: string[] = [];
    const hear = (line: string) => void said.push(line);
    const mocks = [t.mock.method(console, 'log', hear), t.mock.method(console, 'error', hear)];
    const code = await modelsCommand(['remove', ...args], settings);
    for (const mock of mocks) mock.mock.restore();
    return { code, said: said.join('\n') };
  };
  const files = () =>
    readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.includes('.'))
      .sort();
  return { dir, remove, files, names: () => addedEntries(dir).map(({ name }) => name) };
}

test('a model goes with its variants and its thumbnail, and its name is free again', async (t) => {
  const { dir, remove, files, names } = operator(t, [cute, finder]);
  const { code, said } = await remove('cute');
  assert.equal(code, 0, said);
  assert.deepEqual(names(), ['finder']);
  assert.deepEqual(files(), ['finder.onnx', 'manifest.yaml', 'portrait.mask']);
  assert.match(said, /toonfleet reload/);
  await enter(modelEntrySchema.parse(good), [], dir);
  assert.deepEqual(names(), ['finder', 'cute']);
});

test('a file that another entry names stays', async (t) => {
  const { dir, remove, names } = operator(t, [cute, dark]);
  assert.equal((await remove('cute')).code, 0);
  assert.ok(existsSync(join(dir, 'cute.onnx')) && !existsSync(join(dir, 'cute.int8.onnx')));
  assert.equal((await remove('dark')).code, 0);
  assert.deepEqual([names(), existsSync(join(dir, 'cute.onnx'))], [[], false]);
});

test('a composite goes with its mask, and then its parts may go', async (t) => {
  const { remove, files, names } = operator(t, [cute, finder, portrait]);
  for (const name of ['portrait', 'finder', 'cute']) assert.equal((await remove(name)).code, 0, name);
  assert.deepEqual([names(), files()], [[], ['manifest.yaml']]);
});

const kept: [what: string, name: string, env: Record<string, string>, words: RegExp][] = [
  ['the default style', 'cute', { TOONFLEET_MODELS__DEFAULT_STYLE: 'cute' }, /by models\.default_style;/],
  ['the lighter style', 'cute', { TOONFLEET_MODELS__LIGHTER_STYLE: 'cute' }, /by models\.lighter_style;/],
  ['loaded by name', 'cute', { TOONFLEET_MODELS__LOAD: '["cute"]' }, /by models\.load;/],
  ['the face of a composite', 'cute', {}, /portrait draws with cute; remove portrait first/],
  ['the detector of a composite', 'finder', {}, /portrait draws with finder/],
  ['of the package', 'meadow', {}, /no meadow was added/],
  ['nowhere', 'mona-lisa', {}, /no mona-lisa was added/],
];
for (const [what, name, env, words] of kept)
  test(`what is ${what} stays, and the sentence says why`, async (t) => {
    const { dir, remove, files } = operator(t, [cute, finder, portrait], env);
    const before = [files(), readFileSync(addedManifestPath(dir), 'utf8')];
    const { code, said } = await remove(name);
    assert.equal(code, 1, said);
    assert.match(said, words);
    assert.deepEqual([files(), readFileSync(addedManifestPath(dir), 'utf8')], before);
  });

test('with --dry-run the files are listed and nothing goes', async (t) => {
  const { dir, remove, files, names } = operator(t, [cute]);
  const before = files();
  const { code, said } = await remove('cute', '--dry-run');
  assert.equal(code, 0);
  assert.deepEqual(
    said.split('\n'),
    ['cute.onnx', 'cute.int8.onnx', thumbnail].map((file) => join(dir, file)),
  );
  assert.deepEqual([names(), files()], [['cute'], before]);
});

test('remove takes one name', async (t) => {
  const { remove } = operator(t, [cute]);
  for (const args of [[], ['cute', 'dark'], ['cute', '--force']])
    assert.equal((await remove(...args)).code, 2);
});
