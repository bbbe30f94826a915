import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { stringify } from 'yaml';
import { isDrawnBy, modelHeader, styleVersion } from '../../../config/contract.ts';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { chooseInstalled, installedIn, installedModels, ModelFault, readManifest } from './manifest.ts';

const good = {
  name: 'cute',
  file: 'cute.onnx',
  sha256: 'a'.repeat(64),
  kind: 'generator',
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
  size_multiple: 16,
  min_side: 256,
  styles: [{ id: 'cute', title: 'Cute' }],
  licence: 'non-commercial',
  golden: { seed: 1, means: 'AAAA' },
};

function folder(t: { after(call: () => void): void }, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'manifest.yaml'), text);
  return dir;
}

test('the embedded manifest names files that are what it says', () => {
  const models = installedModels('/nowhere');
  assert.ok(models.length >= 3);
  for (const model of models) {
    assert.equal(
      createHash('sha256').update(readFileSync(model.path)).digest('hex'),
      model.sha256,
      model.name,
    );
    for (const { thumbnail } of model.styles)
      if (thumbnail) readFileSync(join(PACKAGE_ROOT, 'server/models', thumbnail));
  }
});

test('added models stand beside the embedded ones', (t) => {
  const dir = folder(t, stringify({ models: [good] }));
  const cute = installedModels(dir).find(({ name }) => name === 'cute');
  assert.equal(cute?.path, join(dir, 'cute.onnx'));
  assert.equal(cute?.embedded, false);
});

const faults: [what: string, change: object, words: RegExp][] = [
  ['a file outside of its folder', { file: '../cute.onnx' }, /models\.0\.file.*inside/],
  ['an absolute file', { file: '/etc/passwd' }, /models\.0\.file/],
  ['a digest that is none', { sha256: 'abc' }, /models\.0\.sha256/],
  ['an unknown layout', { layout: 'HWCN' }, /models\.0\.layout/],
  ['a range upside down', { input: { type: 'float32', range: [1, -1] } }, /models\.0\.input\.range/],
  ['a missing licence', { licence: '' }, /models\.0\.licence/],
  ['two styles for one output', { styles: [good.styles[0], { id: 'b', title: 'B' }] }, /models\.0\.styles/],
  ['a setting that does not exist', { tile: true }, /tile/],
  ['no golden picture', { golden: undefined }, /models\.0\.golden/],
];
for (const [what, change, words] of faults) {
  test(`${what} is a fault that names its place`, (t) => {
    const dir = folder(t, stringify({ models: [{ ...good, ...change }] }));
    assert.throws(
      () => readManifest(join(dir, 'manifest.yaml')),
      (error: unknown) => {
        assert.ok(error instanceof ModelFault);
        assert.match(error.message, words);
        assert.match(error.message, /manifest\.yaml/);
        return true;
      },
    );
  });
}

test('text that is no YAML is a fault', (t) => {
  const dir = folder(t, 'models: [');
  assert.throws(() => readManifest(join(dir, 'manifest.yaml')), ModelFault);
});

test('a name or a style that occurs twice is a fault', (t) => {
  const twice = folder(t, stringify({ models: [good, good] }));
  assert.throws(() => installedModels(twice), /model cute/);
  const taken = folder(t, stringify({ models: [{ ...good, styles: [{ id: 'meadow', title: 'Mine' }] }] }));
  assert.throws(() => installedModels(taken), /style meadow/);
});

test('models.load chooses, in the order of the manifest, and a name that is not installed is a fault', () => {
  const installed = installedIn('/nowhere');
  assert.deepEqual(
    chooseInstalled(installed, ['ink', 'meadow']).models.map(({ name }) => name),
    ['meadow', 'ink'],
  );
  assert.equal(chooseInstalled(installed, []).models.length, installed.models.length);
  assert.throws(() => chooseInstalled(installed, ['meadow', 'vermeer']), /vermeer/);
});

const detector = {
  name: 'finder',
  file: 'finder.onnx',
  sha256: 'b'.repeat(64),
  kind: 'detector',
  preset: 'retinaface-mobilenet',
  licence: 'MIT',
  golden: { seed: 1, means: 'AAAA' },
};
const composite = {
  name: 'people',
  kind: 'face-composite',
  detector: 'finder',
  face: 'cute',
  background: 'cute',
  styles: [{ id: 'people', title: 'People' }],
};

test('the same file that is fed otherwise is another look, for itself and for the composites that it draws in', (t) => {
  const look = (change: object) => {
    const { models, composites } = installedIn(
      folder(t, stringify({ models: [{ ...good, ...change }, detector, composite] })),
    );
    const { sha256 = '', feeding } = models.find(({ name }) => name === 'cute') ?? {};
    return [styleVersion(sha256, '1.0.0', feeding), composites[0]?.sha256];
  };
  const before = look({});
  assert.deepEqual(look({ source: 'elsewhere', styles: [{ id: 'mine', title: 'Mine' }] }), before);
  for (const change of [
    { input: { type: 'float32', range: [0, 1] } },
    { output: { type: 'float32', range: [0, 255] } },
    { channels: 'BGR' },
    { min_side: 128 },
    { padding: 'white' },
  ]) {
    const [version, digest] = look(change);
    assert.notEqual(version, before[0], JSON.stringify(change));
    assert.notEqual(digest, before[1], JSON.stringify(change));
    assert.ok(isDrawnBy(modelHeader(good.sha256), String(version)));
  }
});
