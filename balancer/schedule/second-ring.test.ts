import assert from 'node:assert/strict';
import test from 'node:test';
import { SecondRing } from './second-ring.ts';

const counting = (seconds: number) =>
  new SecondRing(
    seconds,
    () => ({ n: 0 }),
    (counts) => {
      counts.n = 0;
    },
  );
const sum = (counts: { n: number }[]) => counts.reduce((all, { n }) => all + n, 0);

test('the window moves by whole seconds, with the running one or without it', () => {
  const ring = counting(4);
  for (let second = 0; second < 10; second++) ring.at(second * 1000 + 500).n += 10 ** (second % 4);
  assert.equal(sum(ring.last(9_999, 4, 'with-running')), 1111);
  assert.equal(sum(ring.last(9_999, 3, 'whole-only')), 1101);
  assert.equal(sum(ring.last(10_000, 3, 'whole-only')), 1011);
  assert.equal(sum(ring.last(20_000, 4, 'with-running')), 0);
});

test('a place is empty when its next second begins', () => {
  const ring = counting(2);
  ring.at(0).n = 5;
  assert.equal(ring.at(999).n, 5);
  assert.equal(ring.at(2_000).n, 0);
});
