import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type OnnxModel, type OnnxTensor, readModel, UnreadableModel, writeModel } from './model-file.ts';
import { bytes, int, join, text } from './wire.ts';

const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
const whole = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const tensor: fc.Arbitrary<OnnxTensor> = fc.oneof(
  fc.array(finite).map(
    (values): OnnxTensor => ({
      type: 'float32',
      dims: [values.length],
      values: Float32Array.from(values),
    }),
  ),
  fc.array(whole).map(
    (values): OnnxTensor => ({
      type: 'int64',
      dims: [values.length],
      values: Float64Array.from(values),
    }),
  ),
  fc.array(whole).map(
    (values): OnnxTensor => ({
      type: 'int32',
      dims: [1, values.length],
      values: Int32Array.from(values),
    }),
  ),
  fc.int8Array().map((values): OnnxTensor => ({ type: 'int8', dims: [values.length], values })),
  fc.uint8Array().map((values): OnnxTensor => ({ type: 'uint8', dims: [values.length], values })),
);

function model(constant: OnnxTensor, number: number): OnnxModel {
  return {
    irVersion: 8,
    opsets: { '': 17, 'com.microsoft': 1 },
    properties: { licence: 'ours' },
    name: 'g',
    inputs: [{ name: 'x', type: 'float32', dims: [1, 3, 'height', 64] }],
    outputs: [{ name: 'y', type: 'uint8', dims: [] }],
    nodes: [
      {
        op: 'Some',
        domain: 'com.microsoft',
        inputs: ['x', '', 'c'],
        outputs: ['y', 'z'],
        attributes: {
          a: { int: Math.round(number) },
          b: { ints: [0, -1, 3] },
          c: { float: Math.fround(number) },
          d: { floats: [0.5, -2] },
          e: { string: 'reflect' },
          f: { tensor: constant },
        },
      },
    ],
    constants: new Map([['c', constant]]),
  };
}

test('what is written is read back as it was', () => {
  fc.assert(
    fc.property(tensor, fc.integer({ min: -1e6, max: 1e6 }), (constant, number) => {
      const written = model(constant, number);
      assert.deepEqual(readModel(writeModel(written)), written);
    }),
  );
});

test('a file that was cut off anywhere is unreadable or shorter, and never a crash', () => {
  const file = writeModel(model({ type: 'float32', dims: [4], values: new Float32Array(4) }, 1));
  for (let length = 0; length < file.length; length++) {
    try {
      readModel(file.subarray(0, length));
    } catch (error) {
      assert.ok(error instanceof UnreadableModel, `${length} bytes: ${error}`);
    }
  }
});

const unreadable: [name: string, graph: Uint8Array, words: RegExp][] = [
  [
    'a constant that claims 10 GB',
    bytes(5, join(int(1, 2.5e9), int(2, 1), bytes(9, new Uint8Array(4)))),
    /claims/,
  ],
  ['data outside of the file', bytes(5, join(int(1, 1), int(2, 1), int(14, 1))), /outside/],
  ['numbers of a type that is not understood', bytes(5, join(int(2, 10), text(8, 'w'))), /element type 10/],
  ['a graph inside a node', bytes(1, bytes(5, join(text(1, 'body'), int(20, 5)))), /attribute body/],
];
for (const [name, graph, words] of unreadable) {
  test(`${name} is refused in words`, () => {
    const file = join(int(1, 8), bytes(7, graph));
    assert.throws(
      () => readModel(file),
      (error) => error instanceof UnreadableModel && words.test(error.message),
    );
  });
}
