import assert from 'node:assert/strict';
import test from 'node:test';
import { createSpareMemory } from './spare-memory.ts';

test('bytes that came back are lent again, also for a smaller picture', () => {
  const memory = createSpareMemory();
  const first = memory.lend(1000);
  memory.giveBack(first);
  const second = memory.lend(600);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, 600);
  assert.notEqual(memory.lend(600).buffer, first.buffer, 'nobody else has them meanwhile');
});

test('bytes that are too few, moved to another thread or given back twice are not lent', () => {
  const memory = createSpareMemory();
  const small = memory.lend(10);
  memory.giveBack(small);
  assert.notEqual(memory.lend(11).buffer, small.buffer);
  const moved = memory.lend(50);
  structuredClone(moved, { transfer: [moved.buffer] });
  memory.giveBack(moved);
  const twice = memory.lend(40);
  memory.giveBack(twice);
  memory.giveBack(twice);
  assert.equal(memory.lend(40).buffer, twice.buffer);
  assert.notEqual(memory.lend(40).buffer, twice.buffer);
});

test('only the largest few are kept', () => {
  const memory = createSpareMemory();
  const lent = [10, 20, 30, 40, 50].map((length) => memory.lend(length));
  for (const bytes of lent) memory.giveBack(bytes);
  const again = Array.from({ length: 4 }, () => memory.lend(1).buffer.byteLength);
  assert.deepEqual(
    again.sort((a, b) => a - b),
    [1, 30, 40, 50],
  );
});
