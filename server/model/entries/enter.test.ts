import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { enter, refuseTaken } from './enter.ts';
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

test('what is refused was never in the manifest, and takes no file with it, not even one that lies where it would go', async (t) => {
  const dir = folder(t, 'models: []');
  const manifest = addedManifestPath(dir);
  await enter(entry('one', 'mine'), [], dir);
  const from = join(dir, 'two.onnx');
  writeFileSync(from, 'the only copy');
  // A manifest that is written is another file.
  const { ino } = statSync(manifest);
  await assert.rejects(enter(entry('two', 'mine'), [{ from, to: 'two.onnx' }], dir), /style mine/);
  assert.equal(statSync(manifest).ino, ino);
  assert.equal(readFileSync(from, 'utf8'), 'the only copy');
  assert.deepEqual(readdirSync(dir).sort(), ['manifest.yaml', 'two.onnx']);
});

test('a file that cannot be copied leaves nothing beside', async (t) => {
  const dir = folder(t, 'models: []');
  await assert.rejects(enter(entry('one', 'mine'), [{ from: join(dir, 'nowhere'), to: 'one.onnx' }], dir));
  assert.deepEqual(readdirSync(dir), ['manifest.yaml']);
  assert.deepEqual(readManifest(addedManifestPath(dir)).models, []);
});

test('where one of several files cannot be brought none stays', async (t) => {
  const dir = folder(t, 'models: []');
  const from = join(dir, 'one.brought');
  writeFileSync(from, 'weights');
  const files = [
    { from, to: 'one.onnx' },
    { from: join(dir, 'nowhere'), to: 'one.mask' },
  ];
  await assert.rejects(enter(entry('one', 'mine'), files, dir));
  assert.deepEqual(readdirSync(dir).sort(), ['manifest.yaml', 'one.brought']);
});

test('a file of another model is not written over', async (t) => {
  const dir = folder(t, 'models: []');
  const int8 = { name: 'int8', file: 'a.int8.onnx', sha256: good.sha256, psnr: 40, ssim: 0.99, ratio: 2 };
  await enter({ ...entry('a', 'first'), variants: [int8] }, [], dir);
  writeFileSync(join(dir, int8.file), 'the variant of a');
  const from = join(dir, 'brought');
  writeFileSync(from, 'weights');
  await assert.rejects(
    enter(entry('a.int8', 'second'), [{ from, to: 'a.int8.onnx' }], dir),
    /a\.int8\.onnx is a file of a already; one of the two needs another name/,
  );
  assert.equal(readFileSync(join(dir, int8.file), 'utf8'), 'the variant of a');
});

const taken: [name: string, style: string | undefined, words: RegExp | undefined][] = [
  ['one', 'other', /a model one is installed already; choose another --name/],
  ['two', 'mine', /one draws the style mine already; choose another --style/],
  ['two', 'meadow', /meadow draws the style meadow already/],
  ['two', 'other', undefined],
  ['two', undefined, undefined],
];
for (const [name, style, words] of taken)
  test(`${name} with the style ${style ?? 'of nobody'} is ${words ? 'taken' : 'free'}`, async (t) => {
    const dir = folder(t, 'models: []');
    await enter(entry('one', 'mine'), [], dir);
    if (words) assert.throws(() => refuseTaken(name, dir, style), words);
    else refuseTaken(name, dir, style);
  });
