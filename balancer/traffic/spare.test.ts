import assert from 'node:assert/strict';
import test from 'node:test';
import { spareOf } from './spare.ts';

const node = (zone: string, slots: number) => ({ zone, slots });

test('what is left without the largest zone, and without a node of each', () => {
  const fleet = [node('a', 4), node('a', 2), node('b', 4), node('c', 0)];
  assert.deepEqual(spareOf(fleet, 3.2, 0), {
    slots: 10,
    needed: 4,
    zones: [
      { zone: 'a', nodes: 2, slots: 6 },
      { zone: 'b', nodes: 1, slots: 4 },
    ],
    without_largest_zone: { zone: 'a', slots: 4, enough: true },
    without_a_node_of_each_zone: { slots: 2, enough: false },
  });
});

test('pictures that wait are needed for, and one zone alone is never enough', () => {
  assert.equal(spareOf([node('a', 4), node('b', 4)], 4, 0).without_largest_zone.enough, true);
  assert.equal(spareOf([node('a', 4), node('b', 4)], 4, 1).without_largest_zone.enough, false);
  assert.equal(
    spareOf([node('a', 4), node('a', 4)], 0, 0).without_largest_zone.enough,
    false,
    'nobody is left',
  );
  assert.equal(spareOf([node('a', 4), node('a', 4)], 0, 0).without_a_node_of_each_zone.enough, true);
  assert.deepEqual(spareOf([], 0, 0).without_largest_zone, { zone: null, slots: 0, enough: false });
});
