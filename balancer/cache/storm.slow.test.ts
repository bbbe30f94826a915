// Everything at once, on real sockets: equal photos, clients that leave, deadlines, workers that cut, refuse and dawdle.

import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import {
  type Behaviour,
  echo,
  picture,
  STYLE,
  startBalancer,
  startUpstream,
} from '../passage/test-upstream.ts';

const REQUESTS = 600;
const PHOTOS = 60;

/** A small deterministic source of numbers from 0 to 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Mostly well; now and then a cut connection, an error, another client's load, or no hurry. */
const moody =
  (random: () => number): Behaviour =>
  (arrival) => {
    const mood = random();
    if (mood < 0.12) arrival.request.socket.destroy();
    else if (mood < 0.22) arrival.response.writeHead(500, { 'content-length': 0 }).end();
    else if (mood < 0.3)
      arrival.response.writeHead(503, { 'x-admission': 'busy', 'content-length': 0 }).end();
    else setTimeout(() => echo(arrival), random() * 120);
  };

interface Ending {
  readonly status: number | 'left' | 'lost';
  readonly cache: string | undefined;
  readonly body: Buffer;
}

function ask(url: string, photo: Buffer, headers: Record<string, string>, leavesAfterMs: number | undefined) {
  return new Promise<Ending[]>((resolve) => {
    const endings: Ending[] = [];
    let left = false;
    const request = http.request(
      `${url}/v1/images`,
      { method: 'POST', agent: false, headers },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => {});
        response.on('end', () => {
          const cache = response.headers['x-cache'];
          endings.push({
            status: response.statusCode ?? 0,
            cache: typeof cache === 'string' ? cache : undefined,
            body: Buffer.concat(chunks),
          });
        });
      },
    );
    request.on('error', () => {});
    request.on('close', () => {
      if (endings.length === 0)
        endings.push({ status: left ? 'left' : 'lost', cache: undefined, body: Buffer.alloc(0) });
      resolve(endings);
    });
    request.end(photo);
    if (leavesAfterMs !== undefined)
      setTimeout(() => {
        left = true;
        request.destroy();
      }, leavesAfterMs).unref();
  });
}

for (const seed of [1, 2])
  test(`in a storm everybody gets one true answer, and nothing leaks (seed ${seed})`, async (context) => {
    const random = randomFrom(seed);
    const upstreams = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const upstream = await startUpstream(context, moody(random));
        upstream.styles = [{ ...STYLE, version: 'abc-1' }];
        return upstream;
      }),
    );
    const balancer = await startBalancer(context, upstreams, {
      TOONFLEET_BALANCER__CACHE: 'true',
      // Old pictures go all the time, so that every path is taken all the time.
      TOONFLEET_BALANCER__CACHE__TTL: '1s',
    });
    const photos = Array.from({ length: PHOTOS }, (_, index) => picture(`photo ${index}`));
    const all = await Promise.all(
      Array.from({ length: REQUESTS }, async () => {
        const which = Math.floor(random() * PHOTOS);
        const photo = photos[which] ?? assert.fail();
        const headers: Record<string, string> = {
          'x-deadline-ms': String(Math.round(100 + random() * 4000)),
          'x-priority': random() < 0.2 ? 'batch' : 'interactive',
          ...(random() < 0.1 ? { 'cache-control': 'no-cache' } : {}),
        };
        const leavesAfterMs = random() < 0.15 ? random() * 300 : undefined;
        await new Promise((resolve) => setTimeout(resolve, random() * 3000));
        return { photo, leavesAfterMs, endings: await ask(balancer.url, photo, headers, leavesAfterMs) };
      }),
    );
    const seen = new Map<string, number>();
    for (const { photo, leavesAfterMs, endings } of all) {
      assert.equal(endings.length, 1);
      const { status, cache, body } = endings[0] ?? assert.fail();
      seen.set(`${status} ${cache ?? ''}`, (seen.get(`${status} ${cache ?? ''}`) ?? 0) + 1);
      if (status === 200) assert.deepEqual(body, photo, 'the picture of another photo');
      else if (status === 'left') assert.notEqual(leavesAfterMs, undefined);
      else assert.ok(status === 502 || status === 503 || status === 504, String(status));
    }
    context.diagnostic(JSON.stringify(Object.fromEntries(seen)));
    assert.ok((seen.get('200 hit') ?? 0) > REQUESTS / 4, 'the cache was hardly used');
    while (
      balancer.journey.underWay() > 0 ||
      balancer.budget.held > 0 ||
      balancer.dispatch.queued > 0 ||
      [...balancer.pool.upstreams()].some(({ taken }) => taken > 0)
    )
      await new Promise((resolve) => setTimeout(resolve, 10));
    const { drawing, waiting } = balancer.cache.status();
    assert.deepEqual({ drawing, waiting }, { drawing: 0, waiting: 0 });
    for (const { mostHeld } of upstreams) assert.ok(mostHeld <= 2, `${mostHeld} pictures on one slot`);
  });
