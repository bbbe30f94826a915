// A newcomer's first minutes: npm start, a photo in, an anime picture out, Ctrl-C.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import {
  INTERNAL_PATHS,
  imageResultSchema,
  predictResultSchema,
  styleListSchema,
  transformResultSchema,
} from '../../config/contract.ts';
import { identify, isAlive } from '../pm2.ts';
import { site, startCluster, toonfleet, untilWorkers } from './cluster.ts';
import { decode, distance, form, photo } from './pictures.ts';

const PNG = 'data:image/png;base64,';

test('npm start, a photo in, an anime picture out, and Ctrl-C leaves nothing', async (context) => {
  const at = await site(context);
  const cluster = await startCluster(at, { npm: true });
  const picture = await photo(1, 640, 480);
  const post = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
    fetch(cluster.url + path, { method: 'POST', body, headers });

  await context.test('the first picture comes out, of the right size and redrawn', async () => {
    const began = performance.now();
    const answer = await post('/transform', form({ file: picture }));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'image/png');
    const drawn = await decode(Buffer.from(await answer.arrayBuffer()));
    const [width, height] = [drawn.width, drawn.height];
    assert.deepEqual([width, height], [640, 480]);
    assert.ok(distance(drawn, await decode(picture)) > 3, 'it is not the photo');
    context.diagnostic(
      `npm start to ready: ${Math.round(cluster.readyMs)} ms; to the first picture: ${Math.round(cluster.readyMs + performance.now() - began)} ms`,
    );
  });

  await context.test('what it printed is the URL and a curl line that works', () => {
    assert.match(
      cluster.output(),
      /toonfleet is ready after \d+\.\d s: http:\/\/(localhost|127\.0\.0\.1):\d+ \(2 workers: \d+ cores?\)/,
    );
    assert.match(
      cluster.output(),
      /curl -F file=@photo\.jpg (localhost|127\.0\.0\.1):\d+\/transform -o anime\.png/,
    );
  });

  await context.test('several workers do the work', async () => {
    const workers = await untilWorkers(cluster, 2);
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, seed) =>
        post('/transform', form({ file: await photo(100 + seed, 512, 512) })),
      ),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    for (const { url, pid } of workers) {
      const metrics = (await (await fetch(url + INTERNAL_PATHS.workerMetrics)).json()) as {
        name: string;
        values: { value: number }[];
      }[];
      const answered = metrics.find(({ name }) => name === 'toonfleet_worker_requests_total');
      const count = (answered?.values ?? []).reduce((sum, { value }) => sum + value, 0);
      assert.ok(count > 0, `worker ${pid} drew ${count}`);
    }
  });

  await context.test('every dialect answers in its own words', async () => {
    const raw = await post('/v1/images?style=sky&max_side=256', new Uint8Array(picture), {
      'content-type': 'image/jpeg',
      accept: 'image/webp',
    });
    assert.equal(raw.status, 200);
    assert.equal(raw.headers.get('content-type'), 'image/webp');
    assert.equal((await decode(Buffer.from(await raw.arrayBuffer()))).width, 256);

    const json = await post('/v1/images?format=json', form({ image: picture, style: 'ink' }));
    const result = imageResultSchema.parse(await json.json());
    assert.equal(result.style, 'ink');
    assert.ok(result.result_base64?.startsWith(PNG));
    const stored = await fetch(cluster.url + result.result_url);
    assert.equal(stored.status, 200);
    assert.equal((await decode(Buffer.from(await stored.arrayBuffer()))).width, 640);

    const download = await post('/upload', form({ file: picture }));
    assert.match(download.headers.get('content-disposition') ?? '', /^attachment/);
    assert.equal((await decode(Buffer.from(await download.arrayBuffer()))).width, 640);
    assert.ok(
      transformResultSchema
        .parse(await (await post('/upload', form({ image: picture }))).json())
        .result_base64.startsWith(PNG),
    );

    const transformed = await post('/api/v1/transform', form({ image: picture, style: 'hayao_64' }));
    assert.equal(transformResultSchema.parse(await transformed.json()).status, 'success');

    for (const path of ['/api/predict', '/api/predict/']) {
      const predicted = await post(
        path,
        JSON.stringify({ data: [`data:image/jpeg;base64,${picture.toString('base64')}`, 'meadow'] }),
        { 'content-type': 'application/json' },
      );
      assert.ok(predictResultSchema.parse(await predicted.json()).data[0]?.startsWith(PNG));
    }

    const { styles } = styleListSchema.parse(await (await fetch(`${cluster.url}/v1/styles`)).json());
    assert.ok(styles.length >= 3);
    for (const path of [
      '/health',
      '/ready',
      '/live',
      '/v2/health/live',
      '/v2/health/ready',
      '/',
      '/docs',
      '/openapi.json',
    ])
      assert.equal((await fetch(cluster.url + path)).status, 200, path);
  });

  await context.test('any worker answers at the shared port, without the balancer', async () => {
    const answer = await fetch(`${cluster.sharedUrl}/transform`, {
      method: 'POST',
      body: form({ file: picture }),
    });
    assert.equal(answer.status, 200);
    assert.equal((await decode(Buffer.from(await answer.arrayBuffer()))).width, 640);
  });

  await context.test('the figures add up', async () => {
    const front = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
    assert.match(front, /^http_requests_total\{.*route="\/transform".*status="200".*\} \d+$/m);
    const node = await (await fetch(`${cluster.agentUrl}/metrics`)).text();
    assert.match(node, /^toonfleet_workers\{state="ready"\} 2$/m);
    assert.match(node, /^process_resident_memory_bytes\{worker=".+"\} \d+$/m);
    const drawn = [...node.matchAll(/^toonfleet_worker_requests_total\{.*status="200".*\} (\d+)$/gm)];
    assert.ok(drawn.reduce((sum, [, count]) => sum + Number(count), 0) >= 20);
  });

  await context.test('a second start on the same ports says which, and what to set', async () => {
    const other = await site(context);
    const { code, output } = await toonfleet(
      { ...other, env: { ...at.env, TOONFLEET_DATA_DIR: join(other.cwd, 'data') } },
      'start',
    );
    assert.equal(code, 1);
    assert.match(output, new RegExp(`Port ${new URL(at.url).port} \\(balancer\\.port\\) is taken`));
    assert.match(output, /TOONFLEET_BALANCER__PORT=\d+/);
    assert.match(output, /agent\.port/);
  });

  await context.test('a second start from the same folder says that one runs', async () => {
    const { code, output } = await toonfleet(at, 'start');
    assert.equal(code, 1);
    assert.match(output, /runs already from this folder/);
  });

  await context.test('Ctrl-C ends every process and takes sockets and pid files along', async () => {
    const pids = cluster.pids();
    assert.ok(pids.length >= 6, `npm, PM2, balancer, agent and two workers: ${pids}`);
    const began = performance.now();
    await cluster.stop('SIGINT');
    context.diagnostic(`Ctrl-C to the end: ${Math.round(performance.now() - began)} ms`);
    assert.deepEqual(
      pids.filter((pid) => isAlive(identify(pid))),
      [],
    );
    assert.deepEqual(
      readdirSync(at.home).filter((name) => /sock|pid|start\.json/.test(name)),
      [],
    );
    assert.equal(existsSync(join(at.home, 'logs')), true, 'the logs stay');
  });
});
