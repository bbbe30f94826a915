// nginx where the balancer stands: in front of the shared ports of two real nodes, from light to heavy load, while a worker
// is killed, and while all workers of a node are replaced.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { transformResultSchema } from '../../config/contract.ts';
import { arrivals, underTraffic } from './clients.ts';
import { drawingWorker, toonfleet, untilWorkers } from './cluster.ts';
import { nginxBefore, skipWithoutNginx, startNodes } from './nginx.ts';
import { decode, form, photo, randomFrom } from './pictures.ts';

/** Pictures a second that the cluster can draw through this front. */
async function capacity(url: string): Promise<number> {
  let perSecond = 0;
  const warm = await underTraffic(url, { kept: 4, fresh: 0 }, async ({ answered }) => {
    await wait(1_000);
    const [before, began] = [answered(), performance.now()];
    await wait(3_000);
    perSecond = (answered() - before) / ((performance.now() - began) / 1000);
  });
  assert.deepEqual(warm.failures, []);
  return perSecond;
}

test('nginx stands where the balancer stands', { skip: skipWithoutNginx }, async (context) => {
  const [cluster] = await startNodes(context);
  await untilWorkers(cluster, 2);
  const { url, nginx } = await nginxBefore(context, cluster);

  await context.test('every dialect answers in its own words', async () => {
    const picture = await photo(3, 320, 240);
    const post = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
      fetch(url + path, { method: 'POST', body, headers });
    const plain = await post('/transform', form({ file: picture }));
    assert.equal(plain.status, 200);
    assert.equal((await decode(Buffer.from(await plain.arrayBuffer()))).width, 320);
    const raw = await post('/v1/images?format=jpeg', new Uint8Array(picture), {
      'content-type': 'image/jpeg',
    });
    assert.deepEqual([raw.status, raw.headers.get('content-type')], [200, 'image/jpeg']);
    assert.equal((await post('/upload', form({ file: picture }))).status, 200);
    const status = await post('/api/v1/transform', form({ image: picture, style: 'hayao_64' }));
    const { result_url } = transformResultSchema.parse(await status.json());
    for (let i = 0; i < 3; i++)
      assert.equal((await fetch(url + result_url)).status, 200, 'its result is found, whoever is asked');
    const data = `data:image/jpeg;base64,${picture.toString('base64')}`;
    for (const path of ['/api/predict', '/api/predict/']) {
      const json = await post(path, JSON.stringify({ data: [data] }), { 'content-type': 'application/json' });
      assert.equal(json.status, 200, path);
    }
    for (const path of ['/', '/docs', '/openapi.json', '/v1/styles', '/health', '/ready', '/live'])
      assert.equal((await fetch(url + path)).status, 200, path);
    const wrong = await post('/v1/images', 'no picture', { 'content-type': 'image/jpeg' });
    assert.equal(wrong.status, 415);
    assert.equal(wrong.headers.get('content-type'), 'application/problem+json');
  });

  await context.test('no picture fails at 30, 60 and 90 % load', async () => {
    const most = await capacity(url);
    for (const load of [0.3, 0.6, 0.9]) {
      const run = { perSecond: most * load, seconds: 5, random: randomFrom(load * 100) };
      const { sent, failures } = await arrivals(url, run);
      context.diagnostic(`${load * 100} % of ${most.toFixed(0)}/s: ${failures.length} failed of ${sent}`);
      assert.deepEqual(failures, []);
    }
  });

  await context.test('a worker that is killed costs no picture, not even the one it drew', async () => {
    const workers = await untilWorkers(cluster, 2);
    const large = await photo(9, 1536, 1536);
    const send = (id: number) =>
      fetch(`${url}/transform`, {
        method: 'POST',
        body: form({ file: large }),
        headers: { 'x-request-id': `large-${id}` },
      });
    // As many as there are slots, so that one of them is on this node.
    const answers = [1, 2, 3].map(send);
    const pid = await drawingWorker(workers);
    process.kill(pid, 'SIGKILL');
    const load = await underTraffic(url, { kept: 4, fresh: 2 }, async () => {
      const statuses = (await Promise.all(answers)).map(({ status }) => status);
      assert.deepEqual(statuses, [200, 200, 200]);
      await untilWorkers(cluster, 2, (alive) => alive !== pid);
    });
    context.diagnostic(`killed: ${load.failures.length} failed of ${load.answered() + load.failures.length}`);
    assert.deepEqual(load.failures, []);
    const tried = nginx.lines().filter(({ request_id }) => /^large-/.test(String(request_id)));
    assert.ok(
      tried.some(({ upstream }) => /^127\.0\.0\.1:\d+, 127\.0\.0\.2:\d+$/.test(String(upstream))),
      'one was sent to the other node',
    );
  });

  await context.test('a reload of the workers costs no picture', async () => {
    const load = await underTraffic(url, { kept: 4, fresh: 2 }, async () => {
      const { code, output } = await toonfleet(cluster, 'reload', 'worker');
      assert.equal(code, 0, output);
    });
    context.diagnostic(`reload: ${load.failures.length} failed of ${load.answered() + load.failures.length}`);
    assert.deepEqual(load.failures, []);
  });

  await context.test('each request has its line', () => {
    const line = nginx.lines().find(({ path, status }) => path === '/transform' && status === 200);
    assert.equal(line?.role, 'nginx');
    assert.match(String(line?.request_id), /^[0-9a-f]{32}$/);
    assert.match(String(line?.worker_ms), /infer;dur=/);
  });
});
