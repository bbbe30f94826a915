import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import {
  type Behaviour,
  echo,
  picture,
  startBalancer,
  startUpstream,
  type TestBalancer,
  type TestUpstream,
} from '../passage/test-upstream.ts';

const send = async (balancer: TestBalancer, name: string): Promise<Buffer> => {
  const response = await fetch(`${balancer.url}/transform`, {
    method: 'POST',
    body: new Uint8Array(picture(name)),
    signal: AbortSignal.timeout(10_000),
  });
  assert.equal(response.status, 200, name);
  return Buffer.from(await response.arrayBuffer());
};
const answer =
  (status: number, type: string, body: Buffer | string): Behaviour =>
  ({ response }) =>
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);

const ILLS: { name: string; behaviour: Behaviour }[] = [
  { name: 'answers 500', behaviour: answer(500, 'application/json', '{}') },
  { name: 'calls anything a picture', behaviour: answer(200, 'image/png', 'no picture at all') },
  { name: 'sends pictures without a byte', behaviour: answer(200, 'image/png', '') },
  {
    name: 'sends a JPEG and calls it a PNG',
    behaviour: answer(200, 'image/png', Buffer.from('ffd8ffe000', 'hex')),
  },
  {
    name: 'cuts its answers short',
    behaviour: ({ response }) => {
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': 1000 });
      response.write('short');
      setImmediate(() => response.destroy());
    },
  },
];
for (const { name, behaviour } of ILLS)
  test(`a worker that passes its checks and ${name} is taken out, and no picture is lost`, async (context) => {
    const ill = await startUpstream(context, behaviour);
    const well = await startUpstream(context);
    const balancer = await startBalancer(context, [well, ill]);
    let pictures = 0;
    while (![...balancer.pool.upstreams()].some(({ outlier }) => outlier.kind === 'out')) {
      // Two at once: one of them goes to the ill worker, whenever it may.
      const names = [`${pictures++}`, `${pictures++}`];
      const drawn = await Promise.all(names.map((each) => send(balancer, each)));
      for (const [index, each] of names.entries()) assert.ok(drawn[index]?.equals(picture(each)));
      assert.ok(pictures < 3000);
    }
    await balancer.logged(({ message, reason }) => message === 'upstream ejected' && reason === 'outlier');
    const before = ill.arrivals.length;
    for (let i = 0; i < 10; i++) await send(balancer, `after ${i}`);
    assert.equal(ill.arrivals.length, before);
    assert.match(
      await balancer.metrics.registry.metrics(),
      /toonfleet_ejections_total\{reason="outlier"\} 1/,
    );
  });

test('the only worker is never taken out for its answers', async (context) => {
  const ill = await startUpstream(context, answer(500, 'application/json', '{}'));
  const balancer = await startBalancer(context, [ill]);
  for (let i = 0; i < 8; i++) {
    const response = await fetch(`${balancer.url}/transform`, {
      method: 'POST',
      body: new Uint8Array(picture(`${i}`)),
    });
    assert.equal(response.status, 502);
    await response.arrayBuffer();
  }
  ill.behaviour = echo;
  await send(balancer, 'well again');
});

/** A worker in a process of its own, so that it can be stopped with all its sockets open, like a VM without a link. */
async function processWorker(context: test.TestContext) {
  const code = `
    const http = require('node:http');
    const style = ${JSON.stringify({ id: 'meadow', title: 'Meadow', model: 'm', licence: 'x', thumbnail_url: null, aliases: [], default: true })};
    http.createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        if (request.url === '/ready') return response.end('{"status":"ready","node":"vm-2"}');
        if (request.url === '/v1/styles') return response.end(JSON.stringify({ styles: [style] }));
        const body = Buffer.concat(chunks);
        response.writeHead(200, { 'content-type': 'image/png', 'content-length': body.length }).end(body);
      });
    }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  context.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, url: `http://127.0.0.1:${Number(line.toString())}` };
}

test('a worker that falls silent is out within 2 s, its picture is drawn elsewhere, and it is back within 3 s', async (context) => {
  const silent = await processWorker(context);
  const live: TestUpstream = await startUpstream(context);
  // The settings as they are by default.
  const balancer = await startBalancer(context, [live, silent], {
    TOONFLEET_BALANCER__CHECK_INTERVAL: '500ms',
    TOONFLEET_BALANCER__CHECK_TIMEOUT: '500ms',
  });
  await send(balancer, 'warm');
  silent.child.kill('SIGSTOP');
  const stopped = performance.now();
  const held = send(balancer, 'held');
  await balancer.logged(({ message, to }) => message === 'upstream ejected' && to === 'ejected');
  const outMs = performance.now() - stopped;
  assert.ok(outMs <= 2000, `out after ${outMs} ms`);
  assert.ok((await held).equals(picture('held')));
  // Checks of a worker that has been silent for a while come at their usual interval.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  silent.child.kill('SIGCONT');
  const woken = performance.now();
  await balancer.logged(
    ({ message, from, to }) => message === 'upstream changed' && from === 'ejected' && to === 'up',
  );
  const backMs = performance.now() - woken;
  assert.ok(backMs <= 3000, `back after ${backMs} ms`);
});
