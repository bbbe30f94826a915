import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import fc from 'fast-check';
import { checkOnnx } from './check.ts';

const meadow = readFileSync(new URL('../../models/embedded/meadow.onnx', import.meta.url));

/** A protobuf field that holds bytes. */
function field(number: number, ...content: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(content.map((part) => Buffer.from(part as string)));
  return Buffer.concat([varint(number * 8 + 2), varint(body.length), body]);
}
function varint(value: number): Buffer {
  const bytes = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}
const located = Buffer.from([14 * 8, 1]);
const entry = field(13, field(1, 'location'), field(2, '../../etc/passwd'));
const graph = (...inside: Buffer[]) => field(7, ...inside);

test('an embedded style is a model that keeps its data to itself', () => {
  assert.deepEqual(checkOnnx(meadow), { kind: 'self-contained' });
});

const hidden: [where: string, model: Buffer][] = [
  ['an initializer', graph(field(5, located))],
  ['an initializer that only names a file', graph(field(5, entry))],
  ['a sparse initializer', graph(field(15, field(1, located)))],
  ['a constant of a node', graph(field(1, field(5, field(5, located))))],
  ['a graph inside a node', graph(field(1, field(5, field(6, field(5, located)))))],
  ['a function', Buffer.concat([graph(), field(25, field(7, field(5, field(5, located))))])],
];
for (const [where, model] of hidden) {
  test(`external data is found in ${where}`, () => {
    assert.deepEqual(checkOnnx(model), { kind: 'external-data' });
  });
}

const claims: [what: string, model: Buffer, kind: string][] = [
  [
    '10 GB in 16 bytes',
    graph(field(5, varint(8), varint(2_500_000_000), field(9, 'sixteen bytes 16'))),
    'overclaims',
  ],
  ['10 GB by two sides, packed', graph(field(5, field(1, varint(50_000), varint(50_000)))), 'overclaims'],
  ['a side below zero', graph(field(5, Buffer.from([8, ...Array(9).fill(255), 1]))), 'overclaims'],
  [
    'four floats in 16 bytes',
    graph(field(5, varint(8), varint(4), field(9, 'sixteen bytes 16'))),
    'self-contained',
  ],
  ['nothing in nothing', graph(field(5, varint(8), varint(0), varint(8), varint(4))), 'self-contained'],
];
for (const [what, model, kind] of claims) {
  test(`a tensor that claims ${what}: ${kind}`, () => assert.deepEqual(checkOnnx(model), { kind }));
}

test('a file that is cut off, or no model at all, is not ONNX', () => {
  assert.deepEqual(checkOnnx(meadow.subarray(0, meadow.length - 7)), { kind: 'not-onnx' });
  assert.deepEqual(checkOnnx(Buffer.from('hello')), { kind: 'not-onnx' });
  assert.deepEqual(checkOnnx(Buffer.alloc(0)), { kind: 'not-onnx' });
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(meadow.length), (noise, at) => {
      checkOnnx(noise);
      const mutant = Buffer.from(meadow);
      mutant.set(noise.subarray(0, Math.min(noise.length, mutant.length - at)), at);
      checkOnnx(mutant);
    }),
  );
});

test('graphs nested without end are refused', () => {
  let model = field(1, field(5, field(5, Buffer.alloc(0))));
  for (let depth = 0; depth < 200; depth++) model = field(1, field(5, field(6, model)));
  assert.deepEqual(checkOnnx(graph(model)), { kind: 'not-onnx' });
});
