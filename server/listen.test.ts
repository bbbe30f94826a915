import assert from 'node:assert/strict';
import test from 'node:test';
import { createHttpServer } from './listen.ts';

test('a worker’s server has every limit set by hand', () => {
  const server = createHttpServer(() => {});
  assert.equal(server.keepAliveTimeout, 75_000);
  assert.equal(server.headersTimeout, 10_000);
  assert.equal(server.requestTimeout, 60_000);
  assert.equal(server.maxHeadersCount, 100);
  assert.equal(server.maxConnections, 2000);
  assert.equal(server.maxRequestsPerSocket, 1000);
});
