import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { drawPhotos } from './pictures.ts';
import { seeded } from './random.ts';
import { parseServiceTime } from './service-times.ts';
import { startSharedPort, startVirtualWorker } from './virtual-worker.ts';

const [photo] = await drawPhotos(1, [{ width: 320, height: 200 }]);
assert.ok(photo);
const raw = new Blob([new Uint8Array(photo.bytes)], { type: 'image/jpeg' });

async function worker(t: TestContext, slots: number, ms: number): Promise<string> {
  const started = await startVirtualWorker({
    name: 'virtual-1',
    port: 0,
    slots,
    service: () => ms,
    random: seeded(1),
  });
  t.after(() => started.close());
  return started.url;
}

test('a virtual worker answers a picture of the asked size and says that it is virtual', async (t) => {
  const url = await worker(t, 1, 1);
  const answer = await fetch(`${url}/v1/images?max_side=160`, { method: 'POST', body: raw });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('x-model') ?? '', /^virtual;/);
  assert.match(answer.headers.get('server-timing') ?? '', /infer;dur=/);
  const { width, height } = await sharp(Buffer.from(await answer.arrayBuffer())).metadata();
  assert.deepEqual([width, height], [160, 100]);
});

test('a taken slot refuses a balancer at once and lets others wait', async (t) => {
  const url = await worker(t, 1, 120);
  const post = (headers: Record<string, string> = {}) =>
    fetch(`${url}/v1/images`, { method: 'POST', body: raw, headers });
  const first = post();
  // The slot is taken as soon as a second request is refused.
  let refused = await post({ 'x-attempt': '1' });
  while (refused.status === 200) refused = await post({ 'x-attempt': '1' });
  assert.deepEqual([refused.status, refused.headers.get('x-admission')], [503, 'busy']);
  const [waited, served] = await Promise.all([post(), first]);
  assert.deepEqual([waited.status, served.status], [200, 200]);
});

test('a shared port deals connections out to the workers, and each request waits for its own', async (t) => {
  const workers = await Promise.all(
    ['one', 'two'].map((name) =>
      startVirtualWorker({ name, port: 0, slots: 1, service: () => 1, random: seeded(1) }),
    ),
  );
  const shared = await startSharedPort(workers);
  t.after(() => Promise.all([...workers, shared].map((each) => each.close())));
  const nodeOf = async (agent: http.Agent) => {
    const request = http.request(`${shared.url}/v1/images`, { method: 'POST', agent });
    request.end(photo.bytes);
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
    await once(answer.resume(), 'end');
    return answer.headers['x-node'];
  };
  const agents = [1, 2].map(() => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  t.after(() => {
    for (const agent of agents) agent.destroy();
  });
  const seen: unknown[] = [];
  for (const agent of [...agents, ...agents]) seen.push(await nodeOf(agent));
  assert.deepEqual(seen, ['one', 'two', 'one', 'two']);
});

test('the dialects are spoken, the data URL in and out', async (t) => {
  const url = await worker(t, 1, 1);
  const data = [`data:image/jpeg;base64,${photo.bytes.toString('base64')}`];
  const answer = await fetch(`${url}/api/predict`, {
    method: 'POST',
    body: JSON.stringify({ data }),
    headers: { 'content-type': 'application/json' },
  });
  const result = (await answer.json()) as { data: string[] };
  const picture = Buffer.from(result.data[0]?.split(',')[1] ?? '', 'base64');
  assert.equal((await sharp(picture).metadata()).width, 320);
});

test('health, readiness and styles are a worker’s', async (t) => {
  const url = await worker(t, 1, 1);
  for (const [path, member] of [
    ['/ready', 'status'],
    ['/live', 'status'],
    ['/health', 'model_loaded'],
    ['/v1/styles', 'styles'],
  ] as const) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 200, path);
    assert.ok(member in ((await answer.json()) as object), path);
  }
});

const times: { text: string; megapixels: number; mean: number }[] = [
  { text: '40ms', megapixels: 1, mean: 40 },
  { text: '40ms:0.9,400ms:0.1', megapixels: 1, mean: 76 },
  { text: 'exp:100ms', megapixels: 1, mean: 100 },
  { text: '200ms/MP', megapixels: 0.25, mean: 50 },
];
for (const { text, megapixels, mean } of times) {
  test(`service time "${text}" has the mean that it says`, () => {
    const draw = parseServiceTime(text);
    const random = seeded(3);
    const drawn = Array.from({ length: 20_000 }, () => draw?.(megapixels, random) ?? 0);
    assert.ok(Math.abs(drawn.reduce((sum, ms) => sum + ms, 0) / drawn.length / mean - 1) < 0.04);
  });
}

test('a service time is read or refused, and never negative', () => {
  for (const text of ['', 'fast', '40ms:0.5', '0ms', '40ms:0.9,400ms:0.2', 'exp:x'])
    assert.equal(parseServiceTime(text), undefined, text);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9999 }),
      fc.integer(),
      (ms, seed) => (parseServiceTime(`exp:${ms}ms`)?.(1, seeded(seed)) ?? -1) >= 0,
    ),
  );
});
