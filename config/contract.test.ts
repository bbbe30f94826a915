import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { formatServerTiming, isRequestId, nodeOfResult, parseServerTiming, resultId } from './contract.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

test('a result id carries its node', () => {
  assert.equal(nodeOfResult(resultId('vm-1', randomBytes(16).toString('base64url'))), 'vm-1');
});

test('what is no result id belongs to no node', () => {
  const bad = [
    '',
    'vm-1',
    'vm-1.short',
    '../etc/passwd',
    `vm-1.${'a'.repeat(23)}`,
    `VM.${'a'.repeat(22)}`,
    `a/b.${'a'.repeat(22)}`,
    `a.${'a'.repeat(21)}\n`,
  ];
  for (const id of bad) assert.equal(nodeOfResult(id), undefined, id);
});

test('timings survive the header', () => {
  const timings = { upload: 1.2, queue: 0, decode: 12.3, infer: 210.5, encode: 3, total: 230 };
  assert.deepEqual(parseServerTiming(formatServerTiming(timings)), timings);
  assert.deepEqual(parseServerTiming('cache;desc="x", infer;dur=5, __proto__;dur=1, foo;dur=2'), {
    infer: 5,
  });
  assert.deepEqual(parseServerTiming(undefined), {});
});

test('only harmless request ids are echoed', () => {
  assert.equal(isRequestId('a1-b2:c3_d.4'), true);
  for (const id of [undefined, '', 'a b', 'a\nb', 'é', 'x'.repeat(129)]) assert.equal(isRequestId(id), false);
});

test('durations and sizes are read as people write them', () => {
  assert.deepEqual(
    ['60s', '500ms', '2m', '24h', '1.5s', '250', 250].map(parseDuration),
    [60_000, 500, 120_000, 86_400_000, 1500, 250, 250],
  );
  assert.deepEqual(['20MiB', '300kB', '1024', 7].map(parseSize), [20 * 1024 ** 2, 300_000, 1024, 7]);
  for (const value of ['', 's', '5 parsecs', '-1s', Number.NaN, -5])
    assert.equal(parseDuration(value), undefined, String(value));
  assert.deepEqual([60_000, 1500, 250, 86_400_000].map(formatDuration), ['1m', '1.5s', '250ms', '24h']);
  assert.deepEqual([20 * 1024 ** 2, 1024, 37].map(formatSize), ['20MiB', '1KiB', '37B']);
});
