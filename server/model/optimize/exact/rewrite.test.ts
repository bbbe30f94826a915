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
import { animeganV2 } from '../animegan-v2.ts';
import { Builder } from '../builder.ts';
import { blockedRewrite, blockOf } from './blocked.ts';
import { withoutIdlePads } from './idle-pads.ts';
import { withPhasedOutput } from './output.ts';
import { exactRewrite } from './rewrite.ts';
import { smallGenerator } from './small-generator.ts';
import { withoutUpsampling } from './upsample.ts';

type Size = readonly [width: number, height: number];

const SIZE: Size = [24, 16];

/** Something in every pixel. */
const pixels = ([width, height]: Size) =>
  Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * 37 + (at % 7) * 11) % 256);

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
  size = SIZE,
): Promise<Uint8Array> {
  const session = await InferenceSession.create(writeModel(model), { graphOptimizationLevel: level });
  const shape = tensorShape(format.layout, ...size);
  const input = new Tensor(format.input.type, toTensor(pixels(size), format), shape);
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
      // The four convolutions of the generator and the smoothing of what is enlarged; LADE's own are not computed.
      assert.equal(count(rewritten, 'Conv'), 5);
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

test('the AnimeGANv2 architecture stays in blocks but for the border of what is enlarged, and draws the same in any size', async (t) => {
  const model = animeganV2(3, { widths: [16, 32, 32, 32], residuals: 1 });
  const written = await optimised(t, exactRewrite(model, formatOf('NCHW'), 4));
  const block = blockOf(written);
  if (block === undefined) return t.skip('this CPU has no vectors that ONNX Runtime keeps blocks for');
  const rewritten = blockedRewrite(written, block);
  assert.equal(
    count(rewritten, 'ReorderInput'),
    8,
    'twice two ends of rows and columns: before they are convolved, and behind',
  );
  assert.equal(count(rewritten, 'ReorderOutput'), 13, 'eight ends, four borders and the drawing');
  assert.equal(
    new Set(rewritten.values?.map(({ dims }) => String(dims))).size,
    2,
    'a name for each of two layers that are put right in place',
  );
  for (const size of [SIZE, [8, 12], [20, 36], [64, 8]] as const) {
    const before = await drawn(model, formatOf('NCHW'), 'all', size);
    assert.ok(new Set(before).size > 50, 'the drawing shows something');
    const after = await drawn(rewritten, PIXEL_FORMAT, 'basic', size);
    assert.ok(apart(before, after) <= 1, `${apart(before, after)} steps apart at ${size.join('×')}`);
  }
});

test('a model of one size has its borders put right as well', async (t) => {
  const any = animeganV2(3, { widths: [16, 32, 32, 32], residuals: 1 });
  const dims = [1, 3, SIZE[1], SIZE[0]];
  const [input, output] = [any.inputs[0], any.outputs[0]];
  assert.ok(input && output);
  const model = { ...any, inputs: [{ ...input, dims }], outputs: [{ ...output, dims }] };
  const written = await optimised(t, exactRewrite(model, formatOf('NCHW'), 8));
  const block = blockOf(written);
  if (block === undefined) return t.skip('this CPU has no vectors that ONNX Runtime keeps blocks for');
  const after = await drawn(blockedRewrite(written, block), PIXEL_FORMAT, 'basic');
  assert.ok(apart(await drawn(model, formatOf('NCHW')), after) <= 1);
});

for (const mode of ['asymmetric', 'half_pixel', 'pytorch_half_pixel'])
  for (const active of [true, false])
    test(`enlarging (${mode}) is folded into the convolution ${active ? 'and the activation ' : ''}behind it up to the last pixel`, async () => {
      const attributes = { mode: { string: 'linear' }, coordinate_transformation_mode: { string: mode } };
      const model = enlarging(attributes, 2, { active });
      const folded = withoutUpsampling(model);
      assert.equal(count(folded, 'DepthToSpace'), 1);
      const kernels = folded.nodes.map(({ attributes: { kernel_shape: shape } }) => shape);
      assert.ok(kernels.some((shape) => shape && 'ints' in shape && String(shape.ints) === '2,2'));
      // From the corner a side of one pixel cannot be mirrored before it is enlarged.
      const least: Size[] =
        mode === 'asymmetric'
          ? []
          : [
              [1, 1],
              [1, 5],
              [4, 1],
            ];
      for (const size of [SIZE, [2, 3], [3, 2], [7, 5], ...least] as const) {
        const [before, after] = [await values(model, size), await values(folded, size)];
        assert.equal(before.length, after.length);
        const most = Math.max(...before.map((value, at) => Math.abs(value - (after[at] ?? 0))));
        assert.ok(most < 1e-5, `${most} apart at ${size.join('×')}`);
      }
    });

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

test('enlarging stays when it is not linear, lies in another way, is not twofold, or is used twice', () => {
  const attributes = {
    mode: { string: 'linear' },
    coordinate_transformation_mode: { string: 'asymmetric' },
  } as const;
  const cases: [name: string, model: OnnxModel][] = [
    ['nearest', enlarging({ ...attributes, mode: { string: 'nearest' } }, 2)],
    [
      'corner to corner',
      enlarging({ ...attributes, coordinate_transformation_mode: { string: 'align_corners' } }, 2),
    ],
    ['threefold', enlarging(attributes, 3)],
    ['used twice', enlarging(attributes, 2, { usedTwice: true })],
    ['threefold, half a pixel off', enlarging({ mode: { string: 'linear' } }, 3)],
    ['used twice, half a pixel off', enlarging({ mode: { string: 'linear' } }, 2, { usedTwice: true })],
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
    outputs: [{ name: output, type: 'float32', dims: [1, 'channels', 'rows', 'columns'] }],
    nodes: builder.nodes,
    constants: builder.constants,
  };
}

/** What a graph without a format makes of floats. */
async function values(model: OnnxModel, [width, height]: Size): Promise<Float32Array> {
  const session = await InferenceSession.create(writeModel(model), { graphOptimizationLevel: 'basic' });
  const picture = Float32Array.from(pixels([width, height]), (value) => value / 128 - 1);
  const output = (await session.run({ picture: new Tensor('float32', picture, [1, 3, height, width]) }))[
    session.outputNames[0] ?? ''
  ];
  await session.release();
  assert.ok(output?.data instanceof Float32Array);
  return output.data;
}

/** Enlarge, pad, convolve, activate. */
function enlarging(
  attributes: Parameters<Builder['node']>[2],
  factor: number,
  { usedTwice = false, active = true } = {},
): OnnxModel {
  const builder = new Builder('test');
  const large = builder.node('Resize', ['picture', '', builder.float([1, 1, factor, factor])], attributes);
  const padded = builder.node('Pad', [large, builder.ints([0, 0, 1, 1, 0, 0, 1, 1])], {
    mode: { string: 'reflect' },
  });
  const taps = Array.from({ length: 4 * 3 * 9 }, (_, at) => ((at * 31) % 17) / 40 - 0.2);
  const bias = builder.float([0.1, -0.1, 0.2, 0.3]);
  const convolved = builder.node('Conv', [padded, builder.float(taps, [4, 3, 3, 3]), bias]);
  const last = active ? builder.node('Relu', [convolved]) : convolved;
  const end = usedTwice
    ? builder.node('Concat', [large, last], { axis: { int: 1 } })
    : builder.node('Neg', [last]);
  return graphOf(builder, end);
}
