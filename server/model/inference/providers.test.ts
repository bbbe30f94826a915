// What happens when a model is to be computed by what this machine has not. On a machine that has it these tests skip.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { ExecutionProvider } from '../../../config/schema.ts';
import { devicesOf } from '../../../ops/process/devices.ts';
import { ProviderFault } from '../entries/fault.ts';
import { computedOn, type InstalledModel, installedModels } from '../entries/installed.ts';
import { EMBEDDED_MANIFEST } from '../entries/manifest.ts';
import { Library } from '../library.ts';
import { exactOrder } from '../variants/exact-order.ts';
import { startInference } from './session.ts';

const embedded = installedModels('/nowhere');
const [meadow] = embedded;

function inference(t: TestContext) {
  const started = startInference((reason) => {
    throw reason;
  });
  t.after(() => started.close());
  return started;
}

const missing: [provider: ExecutionProvider, words: RegExp, there: boolean][] = [
  ['coreml', /execution provider coreml: .* knows .*cpu/, process.platform === 'darwin'],
  ['cuda', /execution provider cuda, cpu: /, (devicesOf('cuda') ?? 0) > 0],
];
for (const [provider, words, there] of missing) {
  test(`${provider} where there is none is a fault that names the setting, and the CPU goes on drawing`, {
    skip: there && `this machine has ${provider}`,
  }, async (t) => {
    assert.ok(meadow);
    const drawing = inference(t);
    await assert.rejects(
      drawing.load({ ...meadow, execution_providers: [provider, 'cpu'] }),
      (error) =>
        error instanceof ProviderFault &&
        words.test(error.message) &&
        /models\.execution_providers/.test(error.message),
    );
    const { sha256 } = await drawing.load(meadow);
    assert.equal(sha256, meadow.sha256);
  });
}

test('a worker whose provider is missing says so, and not that the package is damaged', {
  skip: process.platform === 'darwin' && 'this machine has coreml',
}, async (t) => {
  const library = new Library(computedOn(embedded, ['coreml']), 'meadow', inference(t));
  await assert.rejects(
    library.load(),
    (error) => error instanceof ProviderFault && !/install the package again/.test(error.message),
  );
});

test('a model that pins its provider keeps it, and the others follow the settings', () => {
  const pinned = embedded.map(
    (model, at): InstalledModel => (at === 0 ? { ...model, execution_providers: ['cpu'] } : model),
  );
  assert.deepEqual(
    computedOn(pinned, ['cuda', 'cpu']).map(({ execution_providers }) => execution_providers?.[0]),
    ['cpu', ...embedded.slice(1).map(() => 'cuda')],
  );
});

test('only what the CPU computes is rewritten for the CPU', () => {
  assert.ok(meadow, EMBEDDED_MANIFEST);
  const added: InstalledModel = { ...meadow, embedded: false, input: { type: 'float32', range: [-1, 1] } };
  const [here, there] = [computedOn([added], ['cpu']), computedOn([added], ['cuda', 'cpu'])].flat();
  assert.ok(here && there);
  assert.ok(exactOrder(here, '/variants'));
  assert.equal(exactOrder(there, '/variants'), undefined);
});
