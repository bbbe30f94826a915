import assert from 'node:assert/strict';
import test from 'node:test';
import { tiredBy } from './rest.ts';

const rows: [pictures: number, rssBytes: number, maxRequests: number, maxMemory: number, tired: unknown][] = [
  [0, 0, 0, 0, undefined],
  [1e9, 1e12, 0, 0, undefined],
  [99, 0, 100, 0, undefined],
  [100, 0, 100, 0, 'requests'],
  [1, 999, 0, 1000, undefined],
  [1, 1000, 0, 1000, 'memory'],
  [0, 1000, 0, 1000, undefined],
  [100, 1000, 100, 1000, 'requests'],
];

for (const [pictures, rssBytes, max_requests, max_memory, tired] of rows) {
  test(`${pictures} pictures and ${rssBytes} bytes under ${max_requests} and ${max_memory}: ${tired ?? 'goes on'}`, () => {
    assert.equal(tiredBy({ pictures, rssBytes }, { max_requests, max_memory }), tired);
  });
}
