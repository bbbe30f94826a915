import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { stringify } from 'yaml';
import { isDrawnBy, modelHeader, styleVersion } from '../../../config/contract.ts';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { chooseInstalled, installedIn, installedModels, modelFiles } from './installed.ts';
import { folder, good } from './test-manifest.ts';

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

test('the files of a manifest are those of every kind of entry', (t) => {
  const mask = { file: 'people.mask', sha256: 'c'.repeat(64) };
  const dir = folder(t, stringify({ models: [good, detector, { ...composite, mask }] }));
  const added = modelFiles(dir).filter(({ embedded }) => !embedded);
  assert.deepEqual(
    added.map(({ model, path, sha256, source }) => [model, path, sha256, source]),
    [
      ['cute', join(dir, 'cute.onnx'), good.sha256, true],
      ['finder', join(dir, 'finder.onnx'), detector.sha256, true],
      ['people (mask)', join(dir, 'people.mask'), mask.sha256, true],
    ],
  );
});
