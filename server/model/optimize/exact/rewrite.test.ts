import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { PIXEL_FORMAT, type TensorFormat } from '../../entries/tensor-format.ts';
import { fromTensor, tensorShape, toTensor } from '../../inference/tensor.ts';
import { type OnnxModel, readModel, writeModel } from '../../onnx/model-file.ts';
import { withRecentOpset } from '../../onnx/opset.ts';
import { Builder } from '../builder.ts';
import { blockedRewrite, blockOf } from './blocked.ts';
import { withoutIdlePads } from './idle-pads.ts';
import { withPhasedOutput } from './output.ts';
import { exactRewrite } from './rewrite.ts';
import { smallGenerator } from './small-generator.ts';
import { withoutUpsampling } from './upsample.ts';

const WIDTH = 24;
const HEIGHT = 16;
const PIXELS = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, at) => (at * 37 + (at % 7) * 11) % 256);

const formatOf = (
  layout: TensorFormat['layout'],
  channels: TensorFormat['channels'] = 'RGB',
): TensorFormat => ({
  layout,
  channels,
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
});

/** What a graph draws of the test picture. */
async function drawn(
  model: OnnxModel,
  format: TensorFormat,
  level: 'all' | 'basic' = 'all',
): Promise<Uint8Array> {
  const session = await InferenceSession.create(writeModel(model), { graphOptimizationLevel: level });
  const shape = tensorShape(format.layout, WIDTH, HEIGHT);
  const input = new Tensor(format.input.type, toTensor(PIXELS, format), shape);
  const output = (await session.run({ [session.inputNames[0] ?? '']: input }))[session.outputNames[0] ?? ''];
  await session.release();
  assert.ok(output && (output.data instanceof Uint8Array || output.data instanceof Float32Array));
  return fromTensor(output.data, format);
}

/** The largest difference of two drawings, in steps of 255. */
function apart(one: Uint8Array, other: Uint8Array): number {
  assert.equal(one.length, other.length);
  return one.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[at] ?? 0))), 0);
}

const count = (model: OnnxModel, op: string) => model.nodes.filter((node) => node.op === op).length;

for (const norm of ['none', 'instance', 'group', 'lade'] as const) {
  for (const layout of ['NHWC', 'NCHW'] as const) {
    test(`a generator with ${norm === 'none' ? 'no' : norm} norm in ${layout} draws the same when it is rewritten`, async () => {
      const model = smallGenerator({ norm, layout });
      const rewritten = exactRewrite(model, formatOf(layout), 2);
      const [before, after] = [await drawn(model, formatOf(layout)), await drawn(rewritten, PIXEL_FORMAT)];
      assert.ok(new Set(before).size > 50, 'the drawing shows something');
      assert.ok(apart(before, after) <= 1, `${apart(before, after)} steps apart`);
      assert.equal(count(rewritten, 'Resize'), 0);
      assert.equal(count(rewritten, 'InstanceNormalization'), 0);
      // The four convolutions of the generator; LADE's own are not computed.
      assert.equal(count(rewritten, 'Conv'), 4);
    });
  }
}

for (const opset of [13, 18, 21]) {
  test(`a generator of operator set ${opset} draws the same when it is rewritten`, async () => {
    const model = smallGenerator({ norm: 'group', layout: 'NCHW', opset });
    const rewritten = exactRewrite(withRecentOpset(model), formatOf('NCHW'), 2);
    const before = await drawn(model, formatOf('NCHW'));
    assert.ok(apart(before, await drawn(rewritten, PIXEL_FORMAT)) <= 1);
  });
}

test('a BGR generator takes and gives RGB bytes when it is rewritten', async () => {
  const model = smallGenerator({ norm: 'none', layout: 'NCHW' });
  const format = formatOf('NCHW', 'BGR');
  const after = await drawn(exactRewrite(model, format, 2), PIXEL_FORMAT);
  assert.ok(apart(await drawn(model, format), after) <= 1);
});

for (const norm of ['instance', 'group', 'lade'] as const) {
  test(`layers with ${norm} norms stay in blocks between convolutions, and the drawing stays the same`, async (t) => {
    const model = smallGenerator({ norm, layout: 'NHWC' });
    const portable = exactRewrite(model, formatOf('NHWC'), 2);
    const written = await optimised(t, portable);
    const block = blockOf(written);
    if (block === undefined) return t.skip('this CPU has no vectors that ONNX Runtime keeps blocks for');
    const rewritten = blockedRewrite(written, block);
    const after = await drawn(rewritten, PIXEL_FORMAT, 'basic');
    assert.ok(apart(await drawn(model, formatOf('NHWC')), after) <= 1);
    assert.ok(count(written, 'ReorderInput') >= 3, 'ONNX Runtime reorders by itself');
    assert.equal(count(rewritten, 'ReorderInput'), 0);
    // Only the drawing comes back into plain order, beside means of channels and their squares, one pixel each.
    const maker = (value = '') => rewritten.nodes.find(({ outputs }) => outputs.includes(value))?.op ?? '';
    const plain = rewritten.nodes.filter(({ op }) => op === 'ReorderOutput');
    const layers = plain.filter(({ inputs }) => !['GlobalAveragePool', 'Mul'].includes(maker(inputs[0])));
    assert.equal(layers.length, 1);
  });
}

test('a padding by nothing goes, one by something stays, and so does one that is the output', () => {
  const builder = new Builder('test');
  const idle = builder.node('Pad', ['picture', builder.ints([0, 0, 0, 0, 0, 0, 0, 0])]);
  const padded = builder.node('Pad', [idle, builder.ints([0, 0, 1, 1, 0, 0, 1, 1])]);
  const last = builder.node('Pad', [padded, builder.ints([0, 0, 0, 0, 0, 0, 0, 0])]);
  const model = graphOf(builder, last);
  const lean = withoutIdlePads(model);
  assert.deepEqual(
    lean.nodes.map(({ inputs, outputs }) => [inputs[0], outputs[0]]),
    [
      ['picture', padded],
      [padded, last],
    ],
  );
});

test('enlarging stays when it is not linear from the corner, not twofold, or used twice', () => {
  const attributes = {
    mode: { string: 'linear' },
    coordinate_transformation_mode: { string: 'asymmetric' },
  } as const;
  const cases: [name: string, model: OnnxModel][] = [
    ['nearest', enlarging({ ...attributes, mode: { string: 'nearest' } }, 2)],
    ['half a pixel off', enlarging({ mode: { string: 'linear' } }, 2)],
    ['threefold', enlarging(attributes, 3)],
    ['used twice', enlarging(attributes, 2, true)],
  ];
  for (const [name, model] of cases) assert.equal(count(withoutUpsampling(model), 'Resize'), 1, name);
  assert.equal(count(withoutUpsampling(enlarging(attributes, 2)), 'Resize'), 0);
});

test('the last convolution stays as it is when sides may be odd', () => {
  const model = smallGenerator({ norm: 'none', layout: 'NHWC' });
  assert.equal(withPhasedOutput(model, 'NHWC', false).planes.kind, 'as-before');
  assert.equal(withPhasedOutput(model, 'NHWC', true).planes.kind, 'phases');
});

/** What ONNX Runtime makes of a graph on this CPU. */
async function optimised(t: TestContext, model: OnnxModel): Promise<OnnxModel> {
  const folder = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const optimizedModelFilePath = join(folder, 'model.onnx');
  const session = await InferenceSession.create(writeModel(model), {
    graphOptimizationLevel: 'all',
    optimizedModelFilePath,
    logSeverityLevel: 3,
  });
  await session.release();
  return readModel(await readFile(optimizedModelFilePath));
}

function graphOf(builder: Builder, output: string): OnnxModel {
  return {
    irVersion: 8,
    opsets: { '': 15 },
    properties: {},
    name: 'test',
    inputs: [{ name: 'picture', type: 'float32', dims: [1, 3, 'height', 'width'] }],
    outputs: [{ name: output, type: 'float32', dims: [1, 3, 'height', 'width'] }],
    nodes: builder.nodes,
    constants: builder.constants,
  };
}

/** Enlarge, pad, convolve, activate. */
function enlarging(attributes: Parameters<Builder['node']>[2], factor: number, usedTwice = false): OnnxModel {
  const builder = new Builder('test');
  const large = builder.node('Resize', ['picture', '', builder.float([1, 1, factor, factor])], attributes);
  const padded = builder.node('Pad', [large, builder.ints([0, 0, 1, 1, 0, 0, 1, 1])], {
    mode: { string: 'reflect' },
  });
  const weights = builder.float(Array<number>(3 * 3 * 9).fill(0.1), [3, 3, 3, 3]);
  const active = builder.node('Relu', [builder.node('Conv', [padded, weights])]);
  const end = usedTwice ? builder.node('Add', [large, active]) : builder.node('Tanh', [active]);
  return graphOf(builder, end);
}
