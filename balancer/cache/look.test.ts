import assert from 'node:assert/strict';
import test from 'node:test';
import type { Style } from '../../config/contract.ts';
import { lookOfAnswer, looksOf } from './look.ts';

const style = (id: string, version: string | undefined, more: Partial<Style> = {}): Style => ({
  id,
  title: id,
  model: id,
  licence: 'Apache-2.0',
  thumbnail_url: null,
  aliases: [],
  default: false,
  ...(version === undefined ? {} : { version }),
  ...more,
});
const worker = (...styles: Style[]) => ({ styles, release: undefined });
const workerOf = (release: string, ...styles: Style[]) => ({ styles, release });

const MEADOW = style('meadow', 'aaa-1', { default: true, aliases: ['hayao_64'] });
const SKY = style('sky', 'bbb-1', { aliases: ['shinkai'] });

for (const [name, asked, expected] of [
  ['an id', 'sky', [{ style: 'sky', version: 'bbb-1', release: '' }]],
  ['an alias', 'shinkai', [{ style: 'sky', version: 'bbb-1', release: '' }]],
  ['an alias, spelt as people do', ' Hayao-64.onnx', [{ style: 'meadow', version: 'aaa-1', release: '' }]],
  ['no style', undefined, [{ style: 'meadow', version: 'aaa-1', release: '' }]],
  ['an unknown style', 'nothing', []],
] as const)
  test(`${name} has the look of its style`, () =>
    assert.deepEqual(looksOf(asked, [worker(MEADOW, SKY), worker(MEADOW, SKY)]), expected));

test('while a fleet changes over, a style has the looks of both', () => {
  const next = style('meadow', 'ccc-1', { default: true });
  assert.deepEqual(
    looksOf('meadow', [worker(next), worker(MEADOW), { styles: undefined, release: undefined }]).map(
      ({ version }) => version,
    ),
    ['aaa-1', 'ccc-1'],
  );
});

test('a worker that tells no version has no look', () => {
  assert.deepEqual(looksOf('meadow', [worker(style('meadow', undefined, { default: true }))]), []);
});

for (const [name, headers, workers, expected] of [
  [
    'the worker that drew it',
    { 'x-style': 'meadow', 'x-model': 'aaa; variant=f32' },
    [worker(MEADOW, SKY)],
    'aaa-1',
  ],
  [
    'nobody who is known',
    { 'x-style': 'meadow', 'x-model': 'ddd; variant=f32' },
    [worker(MEADOW)],
    undefined,
  ],
  [
    'another style of the same name only',
    { 'x-style': 'sky', 'x-model': 'aaa' },
    [worker(MEADOW, SKY)],
    undefined,
  ],
  ['a longer digest', { 'x-style': 'meadow', 'x-model': 'aaaa' }, [worker(MEADOW)], undefined],
  [
    'one of two releases, nobody knows which',
    { 'x-style': 'meadow', 'x-model': 'aaa' },
    [worker(MEADOW), worker(style('meadow', 'aaa-2'))],
    undefined,
  ],
  ['a worker without these headers', {}, [worker(MEADOW)], undefined],
] as const)
  test(`an answer is kept under its look alone: ${name}`, () =>
    assert.equal(lookOfAnswer(headers, workers)?.version, expected));

test('releases with the same weights have looks of their own, and an answer tells which one drew it', () => {
  const fleet = [workerOf('blue', MEADOW), workerOf('green', MEADOW)];
  assert.deepEqual(
    looksOf('meadow', fleet).map(({ release }) => release),
    ['blue', 'green'],
  );
  const answer = { 'x-style': 'meadow', 'x-model': 'aaa; variant=f32' };
  assert.equal(lookOfAnswer({ ...answer, 'x-release': 'green' }, fleet)?.release, 'green');
  assert.equal(lookOfAnswer({ ...answer, 'x-release': 'red' }, fleet), undefined);
  assert.equal(lookOfAnswer(answer, fleet), undefined);
});
