// What `models verify` says of an added model and of its variants, which a worker draws with instead.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { testSettings } from '../../test-worker.ts';
import { EMBEDDED_MANIFEST, readManifest } from '../entries/manifest.ts';
import type { ModelEntry } from '../entries/model-entry.ts';
import { manifestText } from '../entries/seal.ts';
import { folder } from '../entries/test-manifest.ts';
import { modelsCommand } from './command.ts';

/** A style of the package: it takes and gives bytes, as a variant does. */
function embedded(name: string): ModelEntry {
  const entry = readManifest(EMBEDDED_MANIFEST).models.find((each) => each.name === name);
  assert.ok(entry?.kind === 'generator');
  return entry;
}
const fileOf = ({ file }: ModelEntry) => join(dirname(EMBEDDED_MANIFEST), file);

/** A model with a variant that has the bytes of another file, and the command in its folder. */
function installed(t: TestContext, variant: ModelEntry, env: Record<string, string> = {}) {
  const meadow = embedded('meadow');
  const entry: ModelEntry = {
    ...meadow,
    name: 'mine',
    file: 'mine.onnx',
    styles: [{ id: 'mine', title: 'Mine', aliases: [] }],
    variants: [
      { name: 'int8', file: 'mine.int8.onnx', sha256: variant.sha256, psnr: 40, ssim: 0.99, ratio: 2 },
    ],
  };
  const dir = folder(t, manifestText([entry]));
  copyFileSync(fileOf(meadow), join(dir, 'mine.onnx'));
  copyFileSync(fileOf(variant), join(dir, 'mine.int8.onnx'));
  const settings = testSettings(dir, { TOONFLEET_MODELS__DIR: dir, ...env });
  const verify = async () => {
    const said: string[] = [];
    const mock = t.mock.method(console, 'log', (line: string) => void said.push(line));
    const code = await modelsCommand(['verify', '--json'], settings);
    mock.mock.restore();
    const rows = JSON.parse(said.join('\n')) as { model: string; verdict: string; fault: string }[];
    return { code, rows: rows.filter(({ model }) => /^(?:mine|models\.)/.test(model)) };
  };
  return { verify, variantFile: join(dir, 'mine.int8.onnx') };
}

test('a variant is verified beside its model', async (t) => {
  const { verify } = installed(t, embedded('meadow'));
  assert.deepEqual(await verify(), {
    code: 0,
    rows: ['mine', 'mine (int8)'].map((model) => ({ model, verdict: 'right', fault: '' })),
  });
});

const settings: [setting: string, value: string, fault: RegExp | undefined][] = [
  ['models.load', '["mine"]', undefined],
  ['models.load', '["yours"]', /^models\.load names yours, but installed are .*mine/],
  ['models.default_style', 'yours', /^models\.default_style is yours, but the styles are .*mine/],
  ['models.lighter_style', 'yours', /^models\.lighter_style is yours, but the styles are .*mine/],
];
for (const [setting, value, fault] of settings)
  test(`${setting} with ${value} is judged as a worker would at its start`, async (t) => {
    const name = `TOONFLEET_${setting.replace('.', '__').toUpperCase()}`;
    // What is loaded has to draw the default style as well.
    const env = { TOONFLEET_MODELS__DEFAULT_STYLE: 'mine', [name]: value };
    const { code, rows } = await installed(t, embedded('meadow'), env).verify();
    assert.equal(code, fault === undefined ? 0 : 1);
    const [row] = rows.filter(({ model }) => model.startsWith('models.'));
    assert.equal(row?.verdict, fault === undefined ? undefined : 'WRONG');
    if (fault) assert.match(row?.fault ?? '', fault);
  });

const faults: [what: string, variant: string, damage: (file: string) => void, fault: RegExp][] = [
  [
    'is damaged',
    'meadow',
    (file) => writeFileSync(file, readFileSync(file).fill(0, 100)),
    /mine\.int8\.onnx.*its SHA-256 is [0-9a-f]{64}, but the manifest says/,
  ],
  ['is gone', 'meadow', (file) => rmSync(file), /mine\.int8\.onnx.*no such file/],
  ['draws something else', 'ink', () => {}, /mine\.int8\.onnx.*golden picture/],
];
for (const [what, variant, damage, fault] of faults)
  test(`a variant that ${what} is a fault, and its model is still right`, async (t) => {
    const { verify, variantFile } = installed(t, embedded(variant));
    damage(variantFile);
    const { code, rows } = await verify();
    assert.equal(code, 1);
    assert.deepEqual(
      rows.map(({ model, verdict }) => [model, verdict]),
      [
        ['mine', 'right'],
        ['mine (int8)', 'WRONG'],
      ],
    );
    assert.match(rows[1]?.fault ?? '', fault);
  });
