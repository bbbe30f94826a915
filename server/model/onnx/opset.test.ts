// Graphs as older converters wrote them are raised, and both are run.

import assert from 'node:assert/strict';
import test from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { Builder } from '../optimize/builder.ts';
import { type OnnxModel, type OnnxNode, UnreadableModel, writeModel } from './model-file.ts';
import { RECENT_OPSET, withRecentOpset } from './opset.ts';

const SIDE = 8;
const DIMS = [1, 2, SIDE, SIDE];
const VALUES = Float32Array.from({ length: 2 * SIDE * SIDE }, (_, at) => Math.sin(at * 1.7) * 3);

function graph(opset: number, write: (builder: Builder, input: string) => string, irVersion = 4): OnnxModel {
  const builder = new Builder('old');
  const output = write(builder, 'picture');
  const dims = [1, 2, 'height', 'width'];
  return {
    irVersion,
    opsets: { '': opset },
    properties: {},
    name: 'old',
    inputs: [{ name: 'picture', type: 'float32', dims: DIMS }],
    outputs: [{ name: output, type: 'float32', dims }],
    nodes: builder.nodes,
    constants: builder.constants,
  };
}

async function run(model: OnnxModel): Promise<{ dims: readonly number[]; data: Float32Array }> {
  const session = await InferenceSession.create(writeModel(model), { logSeverityLevel: 4 });
  const result = await session.run({ picture: new Tensor('float32', VALUES, DIMS) });
  const output = result[session.outputNames[0] ?? ''];
  await session.release();
  assert.ok(output?.data instanceof Float32Array);
  return { dims: output.dims, data: output.data };
}

const ints = (...values: number[]) => ({ ints: values });
const cases: { name: string; opset: number; write: (builder: Builder, input: string) => string }[] = [
  {
    name: 'padding by attributes, reflected',
    opset: 9,
    write: (b, x) => b.node('Pad', [x], { mode: { string: 'reflect' }, pads: ints(0, 0, 1, 2, 0, 0, 3, 1) }),
  },
  {
    name: 'padding by attributes, with a value',
    opset: 10,
    write: (b, x) => b.node('Pad', [x], { value: { float: 0.5 }, pads: ints(0, 0, 1, 0, 0, 0, 0, 1) }),
  },
  {
    name: 'clipping by attributes',
    opset: 10,
    write: (b, x) => b.node('Clip', [x], { min: { float: -1 }, max: { float: 2 } }),
  },
  { name: 'clipping on one side', opset: 9, write: (b, x) => b.node('Clip', [x], { min: { float: 0 } }) },
  {
    name: 'slicing by attributes',
    opset: 9,
    write: (b, x) => b.node('Slice', [x], { starts: ints(1, 2), ends: ints(7, 99), axes: ints(2, 3) }),
  },
  {
    name: 'slicing by attributes without axes',
    opset: 7,
    write: (b, x) => b.node('Slice', [x], { starts: ints(0, 1), ends: ints(1, 2) }),
  },
  {
    name: 'Upsample, linear',
    opset: 9,
    write: (b, x) => b.node('Upsample', [x, b.float([1, 1, 2, 2])], { mode: { string: 'linear' } }),
  },
  {
    name: 'Upsample, nearest, unlike both ways',
    opset: 9,
    write: (b, x) => b.node('Upsample', [x, b.float([1, 1, 3, 2])], { mode: { string: 'nearest' } }),
  },
  {
    name: 'Upsample with its scales as an attribute',
    opset: 7,
    write: (b, x) =>
      b.node('Upsample', [x], { mode: { string: 'nearest' }, scales: { floats: [1, 1, 2, 2] } }),
  },
  {
    name: 'Resize of set 10, linear',
    opset: 10,
    write: (b, x) => b.node('Resize', [x, b.float([1, 1, 2, 2])], { mode: { string: 'linear' } }),
  },
  {
    name: 'Resize of set 10, nearest',
    opset: 10,
    write: (b, x) => b.node('Resize', [x, b.float([1, 1, 2, 3])], { mode: { string: 'nearest' } }),
  },
  {
    name: 'Resize of set 11 with empty lists',
    opset: 11,
    write: (b, x) =>
      b.node('Resize', [x, b.float([]), b.float([]), b.ints([1, 2, 16, 24])], {
        mode: { string: 'linear' },
        coordinate_transformation_mode: { string: 'align_corners' },
      }),
  },
  {
    name: 'dropping out',
    opset: 10,
    write: (b, x) => b.node('Dropout', [x], { ratio: { float: 0.5 } }),
  },
  {
    name: 'batch norm',
    opset: 7,
    write: (b, x) =>
      b.node(
        'BatchNormalization',
        [x, b.float([1, 2]), b.float([0, 1]), b.float([0.5, 0]), b.float([1, 3])],
        {
          spatial: { int: 1 },
        },
      ),
  },
  {
    name: 'taking axes away, adding some and summing by attributes',
    opset: 11,
    write: (b, x) => {
      const flat = b.node('Squeeze', [x], { axes: ints(0) });
      const sum = b.node('ReduceSum', [flat], { axes: ints(0), keepdims: { int: 1 } });
      return b.node('Unsqueeze', [sum], { axes: ints(0) });
    },
  },
  {
    name: 'mean, shape and reshape',
    opset: 12,
    write: (b, x) => {
      const mean = b.node('ReduceMean', [x], { axes: ints(2, 3), keepdims: { int: 1 } });
      return b.node('Reshape', [b.node('Sub', [x, mean]), b.node('Shape', [x])]);
    },
  },
];

for (const { name, opset, write } of cases)
  test(`a graph of operator set ${opset} computes the same when it is raised: ${name}`, async () => {
    const old = graph(opset, write);
    const recent = withRecentOpset(old);
    assert.equal(recent.opsets[''], RECENT_OPSET);
    const [before, after] = [await run(old), await run(recent)];
    assert.deepEqual(after.dims, before.dims);
    const apart = before.data.map((value, at) => Math.abs(value - (after.data[at] ?? Number.NaN)));
    assert.ok(
      apart.every((each) => each < 1e-5),
      `${Math.max(...apart)} apart`,
    );
  });

test('splitting by an attribute becomes an input', () => {
  const split: OnnxNode = {
    op: 'Split',
    domain: '',
    inputs: ['picture'],
    outputs: ['one', 'other'],
    attributes: { axis: { int: 1 }, split: ints(1, 1) },
  };
  const { nodes, constants } = withRecentOpset({ ...graph(11, (_, x) => x), nodes: [split] });
  assert.deepEqual(Object.keys(nodes[0]?.attributes ?? {}), ['axis']);
  assert.deepEqual([...(constants.get(nodes[0]?.inputs[1] ?? '')?.values ?? [])], [1, 1]);
});

test('a recent graph stays the very same', () => {
  const model = graph(17, (b, x) => b.node('Relu', [x]));
  assert.equal(withRecentOpset(model), model);
});

const REFUSED: [
  name: string,
  opset: number,
  write: (builder: Builder, input: string) => string,
  why: RegExp,
][] = [
  ['steps that nobody here knows', 11, (b, x) => b.node('Loop', [x]), /set is 11, in which Loop/],
  ['a softmax over what is flattened', 11, (b, x) => b.node('Softmax', [x]), /Softmax/],
  [
    'making smaller by the rule of set 10',
    10,
    (b, x) => b.node('Resize', [x, b.float([1, 1, 0.5, 0.5])], { mode: { string: 'nearest' } }),
    /Resize/,
  ],
  [
    'a dropping out whose mask is wanted',
    9,
    (b, x) => {
      b.nodes.push({ op: 'Dropout', domain: '', inputs: [x], outputs: ['y', 'mask'], attributes: {} });
      return 'y';
    },
    /Dropout/,
  ],
  ['sets from before 7', 6, (b, x) => b.node('Relu', [x]), /operator set 6 is older than 7/],
];
for (const [name, opset, write, why] of REFUSED)
  test(`refused by name: ${name}`, () => {
    assert.throws(
      () => withRecentOpset(graph(opset, write)),
      (error) => error instanceof UnreadableModel && why.test(error.message),
    );
  });
