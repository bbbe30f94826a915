// Clients that send or read slowly, on real sockets and in real time: each is cut within its limit.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { startBalancer, startUpstream } from './test-upstream.ts';

/** Sends one byte each 300 ms until the other side answers or closes; what came, and after how long. */
async function trickle(port: number, head: string, drop: string) {
  const socket = net.connect(port, '127.0.0.1');
  const from = performance.now();
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  socket.write(head);
  const timer = setInterval(() => socket.writable && socket.write(drop), 300);
  await once(socket, 'close');
  clearInterval(timer);
  return { text, ms: performance.now() - from };
}

test('a head that trickles in is 408 after 10 to 12 s', async (context) => {
  const balancer = await startBalancer(context, [await startUpstream(context)]);
  const { text, ms } = await trickle(balancer.port, 'GET / HTTP/1.1\r\nHost: x\r\n', 'a: b\r\n');
  assert.match(text, /^HTTP\/1\.1 408 /);
  assert.ok(ms >= 9500 && ms < 13_000, `${ms}`);
});

test('a body that trickles in is 408 after 5 to 8 s, and has held no slot', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const { text, ms } = await trickle(
    balancer.port,
    'POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n',
    'a',
  );
  assert.match(text, /^HTTP\/1\.1 408 /);
  assert.match(text, /upload_too_slow/);
  assert.ok(ms >= 4500 && ms < 9000, `${ms}`);
  assert.equal(upstream.arrivals.length, 0);
  assert.equal(balancer.budget.held, 0);
});
