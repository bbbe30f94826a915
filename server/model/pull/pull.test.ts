import assert from 'node:assert/strict';
import test from 'node:test';
import { MODEL_NAME, STYLE_ID } from '../entries/entry-fields.ts';
import { ModelFault } from '../entries/fault.ts';
import { CATALOGUE } from './catalogue.ts';
import { barLine } from './progress.ts';
import { entryOf, placesOf, pull } from './pull.ts';

test('every name, style and alias of the catalogue is well formed and stands there once', () => {
  const names = CATALOGUE.map(({ name }) => name);
  const styles = CATALOGUE.map(({ style }) => style);
  assert.deepEqual([new Set(names).size, new Set(styles).size], [names.length, styles.length]);
  for (const { name, style, aliases, licence, weights } of CATALOGUE) {
    assert.match(name, MODEL_NAME);
    for (const id of [style, ...aliases]) assert.match(id, STYLE_ID);
    assert.ok(licence.length > 0);
    if (weights.kind === 'onnx') assert.match(weights.url, /^https:\/\/[^?#]+\.onnx$/);
  }
});

test('a name is found however it is written, and an unknown one lists what there is', () => {
  assert.equal(entryOf('AnimeGANv3_Hayao_36').name, 'animeganv3-hayao');
  assert.equal(entryOf('face_paint_512_v2').name, 'face-paint-512-v2');
  assert.throws(() => entryOf('mona-lisa'), /animeganv3-hayao, .*models add FILE/);
});

test('mirrors come before the published place, and keep its address', () => {
  assert.deepEqual(placesOf('https://there.org/a/b.onnx', ['http://mirror.lan/m/']), [
    'http://mirror.lan/m/there.org/a/b.onnx',
    'https://there.org/a/b.onnx',
  ]);
});

test('what is not published as ONNX says what to do instead, and asks nobody', async () => {
  await assert.rejects(
    pull(entryOf('celeba-distill'), { dir: '/nowhere', mirrors: [], proxy: '' }),
    (error) => error instanceof ModelFault && /PyTorch weights only.*torch\.onnx\.export/.test(error.message),
  );
});

test('the bar is full at the end only', () => {
  assert.match(barLine('x', 0, 4 * 2 ** 20, 100), /\[\.{30}\] 0 % of 4\.0 MiB/);
  assert.match(barLine('x', 4 * 2 ** 20 - 1, 4 * 2 ** 20, 100), / 99 %/);
  assert.match(barLine('x', 4 * 2 ** 20, 4 * 2 ** 20, 100), /\[#{30}\] 100 %/);
  assert.equal(barLine('x', 3 * 2 ** 20, undefined, 100), 'x  3 MiB');
});
