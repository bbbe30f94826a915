// New processes take over from old ones under traffic, and no request notices.

import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { type Cluster, site, startCluster, toonfleet, untilWorkers } from './cluster.ts';
import { photo } from './pictures.ts';

/** Small pictures without end, each with bytes of its own. */
async function pictureMaker(): Promise<(seed: number) => Buffer> {
  const base = await sharp(await photo(1, 64, 64))
    .png()
    .toBuffer();
  // A private chunk in front of IEND: other bytes, the same picture.
  const end = base.length - 12;
  return (seed) => {
    const chunk = Buffer.alloc(12 + 4);
    chunk.writeUInt32BE(4, 0);
    chunk.write('toOn', 4, 'latin1');
    chunk.writeUInt32BE(seed >>> 0, 8);
    chunk.writeUInt32BE(crc32(chunk.subarray(4, 12)), 12);
    return Buffer.concat([base.subarray(0, end), chunk, base.subarray(end)]);
  };
}

interface Traffic {
  readonly answered: () => number;
  readonly failures: string[];
  readonly end: () => Promise<void>;
}

/** Clients that send one picture after another: some keep their connection, some open a new one for each. */
async function traffic(url: string, clients: { kept: number; fresh: number }): Promise<Traffic> {
  const make = await pictureMaker();
  const failures: string[] = [];
  let sent = 0;
  let answered = 0;
  let over = false;
  const client = async (agent: Agent) => {
    while (!over) {
      const outcome = await post(url, make(++sent), agent);
      if (outcome === undefined) answered++;
      else failures.push(outcome);
      // Each client leaves gaps, so that connections are idle too when processes change.
      await wait(Math.random() * 10);
    }
    agent.destroy();
  };
  const all = [
    ...Array.from({ length: clients.kept }, () => client(new Agent({ keepAlive: true, maxSockets: 1 }))),
    ...Array.from({ length: clients.fresh }, () => client(new Agent({ keepAlive: false }))),
  ];
  return {
    answered: () => answered,
    failures,
    end: async () => {
      over = true;
      await Promise.all(all);
    },
  };
}

/** Sends one picture; undefined when a picture came back, else what went wrong. */
function post(url: string, picture: Buffer, agent: Agent): Promise<string | undefined> {
  return new Promise((resolve) => {
    const sending = request(
      `${url}/v1/images?format=jpeg`,
      { method: 'POST', agent, headers: { 'content-type': 'image/png', 'content-length': picture.length } },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', (error) => resolve(`answer: ${error.message}`));
        answer.on('end', () => {
          const body = Buffer.concat(chunks);
          resolve(
            answer.statusCode === 200 && body[0] === 0xff
              ? undefined
              : `${answer.statusCode} ${body.subarray(0, 200)}`,
          );
        });
      },
    );
    sending.setTimeout(30_000, () => sending.destroy(new Error('no answer in 30 s')));
    sending.on('error', (error: NodeJS.ErrnoException) => resolve(`request: ${error.code ?? error.message}`));
    sending.end(picture);
  });
}

async function reloadUnderTraffic(cluster: Cluster, target: string, times: number) {
  const load = await traffic(cluster.url, { kept: 4, fresh: 2 });
  for (let round = 0; round < times; round++) {
    const { code, output } = await toonfleet(cluster, 'reload', target);
    assert.equal(code, 0, output);
    assert.match(output, /PM2_HOME=.* reload \w+ --parallel 1/, 'what an operator could type himself');
  }
  await load.end();
  return load;
}

test('a reload loses no request', async (context) => {
  const cluster = await startCluster(await site(context));
  const before = new Set((await untilWorkers(cluster, 2)).map(({ pid }) => pid));

  await context.test('of the workers, twice', async () => {
    const load = await reloadUnderTraffic(cluster, 'worker', 2);
    context.diagnostic(
      `workers: ${load.failures.length} failed of ${load.answered() + load.failures.length}`,
    );
    assert.deepEqual(load.failures, []);
    assert.ok(load.answered() > 200, `${load.answered()} pictures`);
    await untilWorkers(cluster, 2, (pid) => !before.has(pid));
  });

  await context.test('of the balancer', async () => {
    const load = await reloadUnderTraffic(cluster, 'balancer', 1);
    context.diagnostic(
      `balancer: ${load.failures.length} failed of ${load.answered() + load.failures.length}`,
    );
    assert.deepEqual(load.failures, []);
  });
});
