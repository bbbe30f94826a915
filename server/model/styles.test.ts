import assert from 'node:assert/strict';
import test from 'node:test';
import type { InstalledModel } from './entries/installed.ts';
import { aliasesOf, FAMILIES, resolveStyle, stylesOf } from './styles.ts';

function model(id: string, { embedded = false, aliases = [] as string[] } = {}): InstalledModel {
  return {
    name: `${id}-model`,
    file: `${id}.onnx`,
    path: `/models/${id}.onnx`,
    sha256: '0'.repeat(64),
    kind: 'generator',
    layout: 'NHWC',
    channels: 'RGB',
    input: { type: 'uint8', range: [0, 255] },
    output: { type: 'uint8', range: [0, 255] },
    size_multiple: 1,
    min_side: 16,
    styles: [{ id, title: id, aliases, thumbnail: undefined }],
    licence: 'Apache-2.0',
    source: '',
    golden: { seed: 1, means: '' },
    embedded,
    folder: '/models',
    variant: 'f32',
    fileSha256: '0'.repeat(64),
  };
}

const embedded = ['meadow', 'sky', 'ink', 'dusk'].map((id) => model(id, { embedded: true }));
const alone = stylesOf(embedded);

const cases: { name: string; asked: string; added?: InstalledModel[]; style: string | undefined }[] = [
  { name: 'an id is itself', asked: 'sky', style: 'sky' },
  { name: 'letter case and blanks do not matter', asked: ' Sky ', style: 'sky' },
  { name: 'without its weights, hayao_64 is the nearest embedded style', asked: 'hayao_64', style: 'meadow' },
  { name: 'so is AnimeGANv3’s file name', asked: 'AnimeGANv3_Hayao_36.onnx', style: 'meadow' },
  { name: 'shinkai is the sky', asked: 'shinkai_53', style: 'sky' },
  { name: 'paprika is the dusk', asked: 'paprika_54', style: 'dusk' },
  { name: 'a sketch is ink', asked: 'AnimeGANv3_PortraitSketch', style: 'ink' },
  { name: 'an unknown name is nothing', asked: 'vermeer', style: undefined },
  {
    name: 'with weights of its family installed, hayao_64 is drawn by them',
    asked: 'hayao_64',
    added: [model('hayao')],
    style: 'hayao',
  },
  {
    name: 'also when only an alias of the added style tells the family',
    asked: 'hayao',
    added: [model('ghibli-like', { aliases: ['animeganv3_hayao_36'] })],
    style: 'ghibli-like',
  },
  {
    name: 'an alias of an added model wins over the family',
    asked: 'shinkai',
    added: [model('mine', { aliases: ['shinkai'] })],
    style: 'mine',
  },
  {
    name: 'weights of one family do not stand in for another',
    asked: 'shinkai_53',
    added: [model('hayao')],
    style: 'sky',
  },
];
for (const { name, asked, added = [], style } of cases) {
  test(name, () => assert.equal(resolveStyle(asked, stylesOf([...embedded, ...added]))?.id, style));
}

test('without the nearest style a family name is nothing, rather than something else', () => {
  assert.equal(resolveStyle('paprika', stylesOf([model('meadow', { embedded: true })])), undefined);
});

test('every alias that a style lists resolves to it, and every family name is listed once', () => {
  const styles = stylesOf([...embedded, model('hayao')]);
  const listed = styles.flatMap((style) => {
    const aliases = aliasesOf(style, styles);
    for (const alias of aliases) assert.equal(resolveStyle(alias, styles), style);
    return aliases;
  });
  const names = FAMILIES.flatMap((family) => family.names).filter((name) => name !== 'hayao');
  assert.deepEqual([...listed].sort(), [...names].sort());
});

test('the embedded styles are the four that the families name', () => {
  for (const { nearest } of FAMILIES) assert.ok(alone.some(({ id }) => id === nearest));
});
