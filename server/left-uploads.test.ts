// Uploads whose clients leave in the middle, by the thousand: whatever each of them took is there again afterwards.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'node:test';
import { held, untilGivenBack } from '../ops/process/test-held.ts';
import { jpeg } from './test-pictures.ts';
import { ask, scriptedInference, startTestWorker } from './test-worker.ts';

/** The first half of an upload, in each way in which one may come: path, headers, and how the body begins. */
const ways: readonly (readonly [path: string, headers: string, body: string])[] = [
  ['/v1/images', 'Content-Length: 200000', ''],
  ['/v1/images', 'Transfer-Encoding: chunked', '30d40\r\n'],
  [
    '/transform',
    'Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 200000',
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n',
  ],
  [
    '/transform',
    'Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 200000',
    '--b\r\nContent-Disposition: form-data; na',
  ],
  ['/api/predict', 'Content-Type: application/json\r\nContent-Length: 200000', '{"data":["'],
];
const half = (at: number, more = '') => {
  const [path, headers, body] = ways[at % ways.length] ?? ['', '', ''];
  const head = `POST ${path} HTTP/1.1\r\nHost: x\r\n${more}${headers}\r\n\r\n${body}`;
  return Buffer.concat([Buffer.from(head), Buffer.alloc(50_000, 65)]);
};

test('a thousand uploads left in the middle leave no descriptor, timer, place or slot at a worker', async (t) => {
  const { inference, begun, finish, count } = scriptedInference();
  const { port, parts } = await startTestWorker(t, { inference });
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise(setImmediate);
  };
  const open = async (bytes: Buffer) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    await new Promise((written) => socket.write(bytes, written));
    return socket;
  };
  /** What a balancer sends has the slot from its head on; a direct client waits for nothing before its body is whole. */
  const comeAndLeave = async (times: number) => {
    for (let at = 0; at < times / 2; at++) {
      const attempt = await open(half(at, 'X-Attempt: 1\r\n'));
      await until(() => parts.slot.busy);
      if (at % 3 === 0) attempt.resetAndDestroy();
      else attempt.destroy();
      await until(() => !parts.slot.busy);
    }
    const told = await counted();
    const crowd = await Promise.all(Array.from({ length: times / 2 }, (_, at) => open(half(at))));
    for (const socket of crowd) socket.destroy();
    while ((await counted()) < told + times / 2) await new Promise(setImmediate);
  };
  /** Picture requests that have ended. */
  const counted = async () =>
    (await parts.metrics.requests.get()).values.reduce((sum, { value }) => sum + value, 0);
  await comeAndLeave(10);
  const before = held();
  await comeAndLeave(1000);
  await untilGivenBack(before);
  const ends = (await parts.metrics.requests.get()).values.map(({ labels }) => labels.status);
  assert.deepEqual([...new Set(ends)], ['499']);
  assert.equal(parts.slot.queued, 0);
  assert.equal(count(), 0, 'nothing was drawn');
  const drawn = ask(port, '/v1/images', { body: await jpeg() });
  await begun();
  finish();
  assert.equal((await drawn).status, 200);
});
