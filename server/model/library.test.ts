// Which variant of a model a worker draws with. Inference is a double that takes as long as it is told to.

import assert from 'node:assert/strict';
import test from 'node:test';
import { NO_FACES } from '../test-worker.ts';
import { FileFault, ModelFault } from './entries/fault.ts';
import type { InstalledModel } from './entries/installed.ts';
import { drawPicture, goldenInput, sumUp } from './golden.ts';
import type { Inference } from './inference/session.ts';
import { Library } from './library.ts';
import type { Choices } from './variants/choices.ts';

const digest = (letter: string) => letter.repeat(64);
const rule = { fixed_size: undefined, min_side: 64, size_multiple: 1 } as const;
const model: InstalledModel = {
  ...rule,
  name: 'toon',
  file: 'toon.onnx',
  path: '/models/toon.onnx',
  folder: '/models',
  sha256: digest('a'),
  kind: 'generator',
  layout: 'NCHW',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
  styles: [{ id: 'toon', title: 'Toon', aliases: [], thumbnail: undefined }],
  licence: 'ours',
  source: '',
  golden: { seed: 1, means: sumUp(goldenInput(rule, 1)) },
  variants: [{ name: 'int8', file: 'toon.int8.onnx', sha256: digest('b'), psnr: 40, ssim: 0.99, ratio: 2 }],
  embedded: false,
  variant: 'f32',
  fileSha256: digest('a'),
};

/** Draws right, unless told otherwise; says what it was asked to load. */
function inference({
  ms,
  wrong = [],
  damaged = [],
}: {
  ms: Record<string, number>;
  wrong?: string[];
  damaged?: string[];
}) {
  const loaded: string[] = [];
  let spent = 0;
  const double: Inference = {
    ...NO_FACES,
    async load({ path }) {
      if (damaged.includes(path)) throw new FileFault(`${path}: its SHA-256 is another`);
      loaded.push(path);
      const io = { input: { type: '', shape: [] }, output: { type: '', shape: [] } };
      return { io, sha256: '', variant: 'f32', why: undefined };
    },
    async run(_model, pixels) {
      const now = loaded.at(-1) ?? '';
      const data = wrong.includes(now) ? drawPicture(pixels.width, pixels.height, 99) : pixels.data;
      spent += ms[now] ?? 0;
      return { ...pixels, data, ms: 0 };
    },
    async close() {},
  };
  return { double, loaded, clock: () => spent };
}

function memory(clock: () => number): Choices & { known: string | undefined } {
  return {
    clock,
    known: undefined,
    of() {
      return this.known;
    },
    async remember(_model, variant) {
      this.known = variant;
    },
    alone: (work) => work(),
  };
}

const [source, int8] = ['/models/toon.onnx', '/models/toon.int8.onnx'];

test('the fastest variant draws, as pixels, and the choice is remembered for the next start', async () => {
  const { double, loaded, clock } = inference({ ms: { [source]: 100, [int8]: 40 } });
  const choices = memory(clock);
  const library = new Library([model], 'toon', double, choices);
  assert.deepEqual(await library.load(), []);
  const chosen = library.style(undefined).model;
  assert.ok(chosen.kind === 'generator');
  assert.deepEqual(
    [chosen.variant, chosen.path, chosen.layout, chosen.input.type, chosen.sha256],
    ['int8', int8, 'NHWC', 'uint8', model.sha256],
  );
  assert.equal(loaded.at(-1), int8, 'what draws was loaded last');
  assert.equal(choices.known, 'int8');

  const again = inference({ ms: {} });
  const next = new Library([model], 'toon', again.double, choices);
  await next.load();
  assert.deepEqual(again.loaded, [int8], 'nothing is measured twice');
  assert.equal(next.style('toon').model.variant, 'int8');
});

test('what another worker has measured meanwhile is not measured again', async () => {
  const { double, loaded, clock } = inference({ ms: { [source]: 100, [int8]: 40 } });
  const choices = memory(clock);
  choices.alone = (work) => {
    choices.known = 'int8';
    return work();
  };
  await new Library([model], 'toon', double, choices).load();
  assert.deepEqual(loaded, [int8]);
});

test('a variant that is slower on this CPU does not draw', async () => {
  const { double, loaded, clock } = inference({ ms: { [source]: 30, [int8]: 40 } });
  const library = new Library([model], 'toon', double, memory(clock));
  await library.load();
  assert.equal(library.style(undefined).model.variant, 'f32');
  assert.equal(loaded.at(-1), source);
});

test('a variant that this CPU runs wrongly is told of, and does not draw even when it was remembered', async () => {
  const { double, loaded, clock } = inference({ ms: { [source]: 100, [int8]: 1 }, wrong: [int8] });
  const choices = memory(clock);
  choices.known = 'int8';
  const library = new Library([model], 'toon', double, choices);
  const faults = await library.load();
  assert.match(faults.map(({ message }) => message).join(), /variant int8: .*golden picture/);
  assert.equal(library.style(undefined).model.variant, 'f32');
  assert.equal(loaded.at(-1), source);
  assert.equal(choices.known, 'f32');
});

test('a variant whose file is damaged is told of at every start, and draws again once it is mended', async () => {
  const ms = { [source]: 100, [int8]: 40 };
  const { double, clock } = inference({ ms, damaged: [int8] });
  const choices = memory(clock);
  for (const start of ['first', 'next']) {
    const library = new Library([model], 'toon', double, choices);
    const [fault] = await library.load();
    assert.match(fault?.message ?? '', /variant int8: .*SHA-256.*models optimize toon/, `the ${start} start`);
    assert.equal(library.style(undefined).model.variant, 'f32');
  }
  const mended = inference({ ms });
  const library = new Library([model], 'toon', mended.double, { ...choices, clock: mended.clock });
  assert.deepEqual(await library.load(), []);
  assert.equal(library.style(undefined).model.variant, 'int8');
});

test('when neither the model nor its variant is right, that is a fault of the default style', async () => {
  const { double } = inference({ ms: {}, wrong: [source, int8] });
  await assert.rejects(new Library([model], 'toon', double).load(), ModelFault);
});

test('a lighter style that is not installed stops the start with the name of its setting', () => {
  const { double } = inference({ ms: {} });
  assert.throws(
    () => new Library([model], 'toon', double, undefined, undefined, { lighterStyle: 'nothing' }),
    (error) =>
      error instanceof ModelFault &&
      error.message.startsWith('models.lighter_style is nothing, but the styles are toon'),
  );
});

test('a model whose golden picture went wrong is the next to be proven, until it is right again', async () => {
  const { double } = inference({ ms: {} });
  const other = { ...model, name: 'other', styles: [], variants: [] };
  const library = new Library([{ ...model, variants: [] }, other], 'toon', double);
  await library.load();
  let broken = 'toon';
  const proven: string[] = [];
  const { run } = double;
  double.run = async (of, pixels) => {
    proven.push(of.name);
    const drawing = await run(of, pixels);
    return of.name === broken ? { ...drawing, data: drawPicture(pixels.width, pixels.height, 99) } : drawing;
  };
  await assert.rejects(library.proveNext(), /model toon/);
  await assert.rejects(library.proveNext(), /model toon/);
  broken = '';
  await library.proveNext();
  await library.proveNext();
  assert.deepEqual(proven, ['toon', 'toon', 'toon', 'other']);
});
