import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { READ_STALL_MS, sendAnswer } from './answer.ts';

/** Asks for an answer of so many bytes; the two ends of its connection, neither of which reads. */
async function asked(context: TestContext, bytes: number) {
  const server = http.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = net.connect(port, '127.0.0.1').pause();
  context.after(() => {
    client.destroy();
    server.close();
  });
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [request, response] = (await once(server, 'request')) as [http.IncomingMessage, http.ServerResponse];
  sendAnswer(response, { status: 200, headers: {}, body: Buffer.alloc(bytes) }, false);
  return { client, response, socket: request.socket as Socket };
}
/** More than the kernel takes for somebody who does not read. */
const MUCH = 64 * 1024 * 1024;

test('a reader who takes nothing is cut when its time is over', async (context) => {
  const { client, response, socket } = await asked(context, MUCH);
  assert.equal(socket.timeout, READ_STALL_MS);
  const closed = once(response, 'close');
  // As Node tells it, when no byte went out for so long.
  socket.emit('timeout');
  await closed;
  assert.ok(socket.destroyed);
  client.on('error', () => {}).resume();
  if (!client.closed) await new Promise((resolve) => client.once('close', resolve));
  assert.ok(client.bytesRead < MUCH);
});

test('whoever reads to the end has the connection for the next request', async (context) => {
  const { client, response, socket } = await asked(context, MUCH);
  client.resume();
  await once(response, 'finish');
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(socket.destroyed, false);
  // The keep-alive's own time again.
  assert.ok(socket.timeout && socket.timeout < READ_STALL_MS);
});
