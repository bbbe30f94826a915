import assert from 'node:assert/strict';
import test from 'node:test';
import { BufferBudget } from './budget.ts';

test('what does not fit is refused and leaves no trace', () => {
  const budget = new BufferBudget(100);
  assert.equal(budget.take(60), true);
  assert.equal(budget.take(41), false);
  assert.equal(budget.take(40), true);
  budget.give(100);
  assert.equal(budget.held, 0);
});

test('answers are counted even beyond the bound, and keep uploads out meanwhile', () => {
  const budget = new BufferBudget(100);
  budget.count(150);
  assert.equal(budget.take(1), false);
  budget.give(150);
  assert.equal(budget.take(1), true);
});
