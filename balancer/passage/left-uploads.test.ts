// Uploads whose clients leave in the middle, by the thousand: whatever each of them took is there again afterwards.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { held, untilGivenBack } from '../../ops/process/test-held.ts';
import { picture, startBalancer, startUpstream, type TestBalancer } from './test-upstream.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** The first half of an upload, in each way in which one may come. */
const halves = [
  (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n`,
  (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n`,
  (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 200000\r\n\r\n` +
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n',
  () => 'POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{"data":["',
].map((head, at) =>
  Buffer.concat([Buffer.from(head(at % 2 === 0 ? '/transform' : '/upload')), Buffer.alloc(100_000, 65)]),
);

/** So many clients begin their uploads and leave: every other one with a reset, the others with a goodbye. */
async function comeAndLeave(balancer: TestBalancer, count: number): Promise<void> {
  const CROWD = 50;
  for (let gone = 0; gone < count; gone += CROWD) {
    const sockets = await Promise.all(
      Array.from({ length: CROWD }, async (_, at) => {
        const socket = net.connect(balancer.port, '127.0.0.1');
        socket.on('error', () => {});
        await once(socket, 'connect');
        socket.write(halves[at % halves.length] ?? '');
        return socket;
      }),
    );
    while (balancer.journey.underWay() < CROWD) await turn();
    const closed = sockets.map((socket) => once(socket, 'close'));
    for (const [at, socket] of sockets.entries()) {
      if (at % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    await Promise.all(closed);
    while (balancer.journey.underWay() > 0) await turn();
  }
}

for (const { where, full } of [
  { where: 'in memory', full: false },
  { where: 'on disk', full: true },
])
  test(`a thousand uploads left in the middle, ${where}, leave no descriptor, timer, file or byte`, async (context) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'left-'));
    context.after(() => rmSync(dataDir, { recursive: true, force: true }));
    const upstream = await startUpstream(context);
    const balancer = await startBalancer(context, [upstream], { TOONFLEET_DATA_DIR: dataDir });
    const room = balancer.settings.balancer.buffer_budget;
    if (full) balancer.budget.count(room);
    // Folders are made and pools are filled by the first ones.
    await comeAndLeave(balancer, 50);
    while (balancer.spill.budget.held > 0) await turn();
    const before = held();
    await comeAndLeave(balancer, 1000);
    await untilGivenBack(before);
    assert.equal(balancer.budget.held, full ? room : 0);
    while (balancer.spill.budget.held > 0) await turn();
    if (full) assert.deepEqual(readdirSync(join(dataDir, 'uploads')), []);
    assert.equal(upstream.arrivals.length, 0);
    if (full) balancer.budget.give(room);
    const answer = await fetch(`${balancer.url}/transform`, {
      method: 'POST',
      body: new Uint8Array(picture()),
    });
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
  });
