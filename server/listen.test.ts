import assert from 'node:assert/strict';
import test from 'node:test';
import { notHttp, rawExchange, wrongAnswers } from '../ops/process/test-wire.ts';
import { createHttpServer, HTTP_SETTINGS, listen } from './listen.ts';
import { scriptedInference, startTestWorker } from './test-worker.ts';

test('a worker’s server has every limit set by hand', () => {
  assert.deepEqual(HTTP_SETTINGS, {
    keepAliveTimeout: 75_000,
    headersTimeout: 10_000,
    requestTimeout: 60_000,
    connectionsCheckingInterval: 1000,
    maxHeaderSize: 8192,
    requireHostHeader: true,
    insecureHTTPParser: false,
  });
  const server = createHttpServer(() => {});
  assert.equal(server.keepAliveTimeout, HTTP_SETTINGS.keepAliveTimeout);
  assert.equal(server.headersTimeout, HTTP_SETTINGS.headersTimeout);
  assert.equal(server.requestTimeout, HTTP_SETTINGS.requestTimeout);
  assert.equal(server.maxHeadersCount, 100);
  assert.equal(server.maxConnections, 2000);
  assert.equal(server.maxRequestsPerSocket, 1000);
});

const NO_HOST = ['HTTP/1.1 without a Host', 'GET /live HTTP/1.1\r\nConnection: close\r\n\r\n', 400] as const;

test('what is no HTTP has its strict answer from a worker too, once, and the connection ends', async (t) => {
  const { inference, count } = scriptedInference();
  const { port, parts } = await startTestWorker(t, { inference });
  assert.deepEqual(await wrongAnswers(port, [...notHttp, NO_HOST]), []);
  assert.equal(count(), 0);
  assert.equal(parts.slot.busy, false);
  assert.match(
    await rawExchange(port, 'GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    / 200 /,
  );
});

test('no app of a worker ever has a whole request of what is no HTTP', async (t) => {
  const whole: string[] = [];
  const { port, closeAll, stopAccepting } = await listen(
    (request, response) => {
      request.on('error', () => {});
      request.resume().once('end', () => {
        whole.push(`${request.method} ${request.headers.host}`);
        response.end();
      });
    },
    { host: '127.0.0.1', port: 0, exclusive: true },
  );
  t.after(() => {
    stopAccepting();
    closeAll();
  });
  assert.deepEqual(await wrongAnswers(port, notHttp), []);
  assert.deepEqual(whole, []);
});
