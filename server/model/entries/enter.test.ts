import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { enter } from './enter.ts';
import { addedManifestPath, readManifest } from './manifest.ts';
import { modelEntrySchema } from './model-entry.ts';
import { folder, good } from './test-manifest.ts';

const entry = (name: string, style: string) =>
  modelEntrySchema.parse({ ...good, name, file: `${name}.onnx`, styles: [{ id: style, title: style }] });

test('what is entered by several at once is all there', async (t) => {
  const dir = folder(t, 'models: []');
  const names = ['one', 'two', 'three', 'four'];
  await Promise.all(names.map((name) => enter(entry(name, name), [], dir)));
  const { models } = readManifest(addedManifestPath(dir));
  assert.deepEqual(models.map(({ name }) => name).sort(), [...names].sort());
});

test('of two that enter the same name one is told, and the file of the other stays', async (t) => {
  const dir = folder(t, 'models: []');
  const both = ['first', 'second'].map((words) => {
    const from = join(dir, `${words}.brought`);
    writeFileSync(from, words);
    return enter(entry('same', words), [{ from, to: 'same.onnx' }], dir);
  });
  const ends = await Promise.allSettled(both);
  assert.deepEqual(ends.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const [only] = readManifest(addedManifestPath(dir)).models;
  assert.ok(only?.kind === 'generator');
  assert.equal(readFileSync(join(dir, 'same.onnx'), 'utf8'), only.styles[0]?.id);
});
