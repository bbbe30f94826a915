import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { comparisonTable, type Measured, median, rowsOf } from './comparison-table.ts';

const measured = (title: string, cpuMs: number[], more: Partial<Measured> = {}): Measured => ({
  title,
  cpuMs,
  rssBytes: 300e6,
  psnr: [99],
  ssim: [1],
  ...more,
});

test('the median lies between the least and the largest, and half of the values are not above it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1 }), (numbers) => {
      const middle = median(numbers);
      assert.ok(numbers.filter((each) => each <= middle).length * 2 >= numbers.length);
      assert.ok(numbers.filter((each) => each >= middle).length * 2 >= numbers.length);
    }),
  );
  assert.ok(Number.isNaN(median([])));
});

test('ratios are taken round by round, so that a busy machine in one round meets both', () => {
  const rows = rowsOf([measured('plain', [100, 900, 100]), measured('fast', [50, 450, 50])], {
    defaults: 'plain',
    all: 'nobody',
  });
  assert.deepEqual(
    rows.map(({ againstDefaults, againstAll, perSecond }) => [againstDefaults, againstAll, perSecond]),
    [
      [1, undefined, 10],
      [2, undefined, 20],
    ],
  );
});

test('the worst photo is what counts, and who is missing is named with the reason', () => {
  const rows = rowsOf([measured('int8', [40], { psnr: [40, 36.25], ssim: [0.99, 0.97] })], {
    defaults: 'int8',
    all: 'int8',
  });
  const table = comparisonTable('tiny', rows, [{ title: 'torch', why: 'not installed' }]);
  assert.match(table, /\| int8 \| 40 \| 25\.00 \| 1\.00 × \| 1\.00 × \| 300 \| 36\.\d \| 0\.9700 \|/);
  assert.match(table, /torch is missing: not installed/);
});
