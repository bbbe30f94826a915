import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { InferenceSession } from 'onnxruntime-node';
import { modelsCommand } from '../commands/command.ts';
import { installedModels } from '../entries/installed.ts';
import { startInference } from '../inference/session.ts';
import { Library } from '../library.ts';
import { writeModel } from '../onnx/model-file.ts';
import { smallGenerator } from '../optimize/exact/small-generator.ts';
import { NO_CHOICES } from './choices.ts';
import { chooseExact } from './exact-variant.ts';

test('a kept variant that draws another picture fails its golden picture, and the file itself draws instead', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const dir = join(folder, 'models');
  const variants = join(folder, 'variants');
  const file = join(folder, 'small.onnx');
  const bytes = writeModel(smallGenerator({ norm: 'instance', layout: 'NHWC' }));
  await writeFile(file, bytes);
  t.mock.method(console, 'log', () => {});
  const added = ['--name', 'small', '--style', 'small:Small', '--multiple', '2', '--licence', 'own'];
  const settings = {
    models: {
      dir,
      default_style: 'meadow',
      lighter_style: '',
      faster: true,
      execution_providers: ['cpu' as const],
      mirrors: [],
      proxy: '',
      load: [],
    },
  };
  assert.equal(await modelsCommand(['add', file, ...added, '--accept-licence'], settings), 0);

  // As if the folder had come from another machine: the variant of another network under this one's name.
  const other = writeModel(smallGenerator({ norm: 'none', layout: 'NHWC' }));
  let at = 0;
  const session = await InferenceSession.create(other);
  const values = { type: 'float32' as const, range: [-1, 1] as [number, number] };
  const digest = (of: Uint8Array) => createHash('sha256').update(of).digest('hex');
  const strange = await chooseExact(
    {
      open: async () => session,
      bytes: other,
      sha256: digest(other),
      format: { layout: 'NHWC', channels: 'RGB', input: values, output: values },
      multiple: 2,
      side: 32,
    },
    variants,
    {},
    () => (at += at < 120 ? 20 : 1),
  );
  assert.equal(strange.variant, 'exact', strange.why);
  for (const name of await readdir(variants)) {
    const own = name.replace(digest(other).slice(0, 16), digest(bytes).slice(0, 16));
    await rename(join(variants, name), join(variants, own));
  }

  const inference = startInference((reason) => assert.fail(reason));
  t.after(() => inference.close());
  const library = new Library(installedModels(dir), 'meadow', inference, NO_CHOICES, variants);
  assert.deepEqual(await library.load(), []);
  const [{ variant, why } = { variant: 'exact', why: '' }] = library.drawnWith();
  assert.equal(variant, 'f32');
  assert.match(why ?? '', /its graph for this CPU failed/);
});
