import assert from 'node:assert/strict';
import test from 'node:test';
import { idealFifo, SLEEPERS_MIX as MIX, meanMs, traceOf } from './trace.ts';

test('a trace has its rate and its share of large pictures', () => {
  const trace = traceOf(0.8, 8, 200, 1);
  const expected = (0.8 * 8 * 200_000) / meanMs(MIX);
  assert.ok(Math.abs(trace.length / expected - 1) < 0.05);
  const large = trace.filter(({ large }) => large).length / trace.length;
  assert.ok(large > 0.085 && large < 0.115, `${large}`);
});

test('the ideal serves in order, at once while a slot is free', () => {
  const { smallMs, largeMs } = MIX;
  const trace = [0, 0, 0].map((atMs, index) => ({ atMs, large: index === 0 }));
  assert.deepEqual(idealFifo(trace, 1, 10_000), [largeMs, largeMs + smallMs, largeMs + 2 * smallMs]);
  assert.deepEqual(idealFifo(trace, 3, 10_000), [largeMs, smallMs, smallMs]);
});

test('the ideal draws nothing that would be late', () => {
  const trace = [0, 0, 0].map((atMs) => ({ atMs, large: true }));
  assert.deepEqual(idealFifo(trace, 1, 900), [MIX.largeMs, 2 * MIX.largeMs, undefined]);
});
