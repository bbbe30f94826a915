import assert from 'node:assert/strict';
import test from 'node:test';
import { parseRange } from './results.ts';

const cases: [header: string, expected: ReturnType<typeof parseRange>][] = [
  ['', undefined],
  ['bytes=0-0', { start: 0, end: 0 }],
  ['bytes=10-19', { start: 10, end: 19 }],
  ['bytes=90-', { start: 90, end: 99 }],
  ['bytes=90-500', { start: 90, end: 99 }],
  ['bytes=-10', { start: 90, end: 99 }],
  ['bytes=-500', { start: 0, end: 99 }],
  ['bytes=100-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=20-10', undefined],
  ['bytes=0-1,5-6', undefined],
  ['bytes=-', undefined],
  ['items=0-1', undefined],
];
for (const [header, expected] of cases) {
  test(`"${header}" of 100 bytes is ${JSON.stringify(expected)}`, () =>
    assert.deepEqual(parseRange(header, 100), expected));
}
