import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { stringify } from 'yaml';
import { ModelFault } from './fault.ts';
import { readManifest } from './manifest.ts';
import { folder, good } from './test-manifest.ts';

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
