import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { testSettings } from '../../test-worker.ts';
import type { InstalledModel } from '../entries/installed.ts';
import { choicesOf } from './choices.ts';

const model = (change: Partial<InstalledModel> = {}) =>
  ({
    sha256: 'a'.repeat(64),
    variants: [{ name: 'int8', sha256: 'b'.repeat(64) }],
    ...change,
  }) as InstalledModel;

/** A machine whose folder of models takes no files: there is none of this path, and none can be made. */
function machine(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'models'), 'no folder');
  const settings = testSettings(dir, { TOONFLEET_DATA_DIR: dir, TOONFLEET_MODELS__DIR: join(dir, 'models') });
  return { dir, settings };
}

test('what was measured is known to the next worker, also where nothing can be written beside the models', async (t) => {
  const { settings } = machine(t);
  const choices = choicesOf(settings);
  assert.equal(choices.of(model()), undefined);
  await choices.alone(() => choices.remember(model(), 'int8'));
  assert.equal(choicesOf(settings).of(model()), 'int8');
});

test('of workers that start at once one measures at a time, also where nothing can be written beside the models', async (t) => {
  const { settings } = machine(t);
  let measuring = 0;
  const measure = async () => {
    assert.equal(++measuring, 1);
    await choicesOf(settings).remember(model(), 'int8');
    measuring--;
  };
  await Promise.all([1, 2, 3].map(() => choicesOf(settings).alone(measure)));
});

test('other files and other devices are other choices, and each is kept beside the others', async (t) => {
  const { settings } = machine(t);
  const choices = choicesOf(settings);
  const [other, elsewhere] = [model({ sha256: 'c'.repeat(64) }), model({ execution_providers: ['cuda'] })];
  await choices.alone(async () => {
    await choices.remember(model(), 'int8');
    await choices.remember(other, 'f32');
  });
  assert.deepEqual([model(), other, elsewhere].map(choices.of), ['int8', 'f32', undefined]);
});

test('a damaged file costs a measurement and nothing else', async (t) => {
  const { dir, settings } = machine(t);
  const choices = choicesOf(settings);
  mkdirSync(join(dir, 'variants'));
  writeFileSync(join(dir, 'variants', 'choices.json'), '{"half');
  assert.equal(choices.of(model()), undefined);
  await choices.remember(model(), 'int8');
  assert.equal(choices.of(model()), 'int8');
  assert.ok(!existsSync(join(dir, 'variants', 'choices.json.lock')));
});
