import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { ToonError } from '../../config/errors.ts';
import { BufferBudget } from './budget.ts';
import { SpillFolder } from './spill.ts';
import { type Arrival, echo, picture, startBalancer, startUpstream } from './test-upstream.ts';
import { readUpload, type UploadLimits } from './upload.ts';

const LIMITS: UploadLimits = { maxBytes: 64 * 1024 * 1024, timeoutMs: 20_000, minRate: 0 };
const MEBIBYTE = 1024 * 1024;

function folder(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-uploads-'));
  context.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'uploads');
}

/** A request that a test writes, as far as an upload looks at it. */
function played() {
  const stream = new PassThrough();
  return { stream, request: stream as unknown as http.IncomingMessage };
}

const code = (expected: string) => (error: unknown) => error instanceof ToonError && error.code === expected;

test('whatever fits into memory or onto disk comes out byte for byte, as often as it is read, and leaves nothing', async (context) => {
  const dir = folder(context);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 0, max: 1 }),
      fc.boolean(),
      async (chunks, memoryShare, announced) => {
        const all = Buffer.concat(chunks);
        // Chunked uploads reserve a quarter of a MiB: with less than that they go to disk at once.
        const memory = new BufferBudget(memoryShare * MEBIBYTE);
        const disk = new BufferBudget(4 * MEBIBYTE);
        const { stream, request } = played();
        const upload = readUpload(
          request,
          announced ? all.length : undefined,
          LIMITS,
          memory,
          new SpillFolder(dir, disk),
        );
        for (const chunk of chunks) stream.write(chunk);
        stream.end();
        const body = await upload.body;
        assert.equal(body.spilled, memoryShare === 0);
        assert.equal(body.length, all.length);
        assert.ok((await body.read()).equals(all));
        assert.ok((await body.read()).equals(all));
        upload.release();
        while (memory.held + disk.held > 0) await new Promise((resolve) => setImmediate(resolve));
      },
    ),
    { numRuns: 60 },
  );
  assert.deepEqual(readdirSync(dir), []);
});

test('a chunked upload that outgrows the memory moves onto disk whole, and gives the memory back at once', async (context) => {
  const [memory, disk] = [new BufferBudget(MEBIBYTE), new BufferBudget(8 * MEBIBYTE)];
  const { stream, request } = played();
  const upload = readUpload(request, undefined, LIMITS, memory, new SpillFolder(folder(context), disk));
  const chunks = Array.from({ length: 50 }, (_, i) => Buffer.alloc(60_000, i));
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain');
  stream.end();
  const body = await upload.body;
  assert.equal(body.spilled, true);
  assert.equal(memory.held, 0);
  assert.ok(disk.held >= body.length);
  assert.ok((await body.read()).equals(Buffer.concat(chunks)));
  upload.release();
});

test('with memory and disk full an upload is refused, at once by its length or when it grows', async (context) => {
  const [memory, disk] = [new BufferBudget(MEBIBYTE), new BufferBudget(MEBIBYTE)];
  const spill = new SpillFolder(folder(context), disk);
  const announced = played();
  assert.throws(() => readUpload(announced.request, 2 * MEBIBYTE, LIMITS, memory, spill), code('overloaded'));
  const growing = played();
  const upload = readUpload(growing.request, undefined, LIMITS, memory, spill);
  const refused = assert.rejects(upload.body, code('overloaded'));
  for (let i = 0; i < 40; i++) growing.stream.write(Buffer.alloc(60_000));
  await refused;
  upload.release();
  while (memory.held + disk.held > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('a disk that takes nothing is 507 or 500, never a hang', async (context) => {
  const dir = folder(context);
  // A file where the folder should be: nothing can be made in it.
  mkdirSync(join(dir, '..'), { recursive: true });
  writeFileSync(dir, '');
  const [memory, disk] = [new BufferBudget(0), new BufferBudget(MEBIBYTE)];
  const { stream, request } = played();
  const upload = readUpload(request, 1000, LIMITS, memory, new SpillFolder(dir, disk));
  stream.end(Buffer.alloc(1000));
  await assert.rejects(upload.body, code('internal_error'));
  upload.release();
  while (disk.held > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('what a crash has left is taken away at the start, and nothing else', async (context) => {
  const dir = folder(context);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'left.upload'), 'x');
  writeFileSync(join(dir, 'notes.txt'), 'x');
  await new SpillFolder(dir, new BufferBudget(0)).clean();
  assert.deepEqual(readdirSync(dir), ['notes.txt']);
  await new SpillFolder(join(dir, 'never made'), new BufferBudget(0)).clean();
});

test('photos beyond the memory go through on disk: the same bytes reach the worker, also when it is replayed, and nothing is left', async (context) => {
  const held: Arrival[] = [];
  const upstreams = await Promise.all(
    [1, 2].map(() => startUpstream(context, (arrival) => held.push(arrival))),
  );
  const dataDir = join(folder(context), '..');
  const balancer = await startBalancer(context, upstreams, {
    TOONFLEET_BALANCER__BUFFER_BUDGET: '16MiB',
    TOONFLEET_DATA_DIR: dataDir,
  });
  const photos = [1, 2, 3, 4, 5].map((n) => picture(Buffer.alloc(6 * MEBIBYTE, n)));
  const post = (path: string, body: BodyInit) => fetch(balancer.url + path, { method: 'POST', body });
  const answers = photos.map((photo, i) => {
    if (i % 2 === 0) return post('/v1/images', new Uint8Array(photo));
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(photo)]), 'p.png');
    return post('/transform', form);
  });
  await Promise.all(upstreams.map((upstream) => upstream.arrived(1)));
  while (balancer.dispatch.queued < 3) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(balancer.spill.budget.held > 6 * MEBIBYTE, 'some are on disk');
  assert.ok(balancer.budget.held <= 16 * MEBIBYTE);
  // One worker dies: its picture is replayed on the other, after those that came before.
  for (const upstream of upstreams) upstream.behaviour = echo;
  held[0]?.request.socket.resetAndDestroy();
  for (const arrival of held.slice(1)) echo(arrival);
  for (const [index, answer] of (await Promise.all(answers)).entries()) {
    assert.equal(answer.status, 200);
    assert.ok(
      Buffer.from(await answer.arrayBuffer()).equals(photos[index] ?? Buffer.alloc(0)),
      `photo ${index}`,
    );
  }
  while (balancer.budget.held + balancer.spill.budget.held > 0)
    await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(readdirSync(join(dataDir, 'uploads')), []);
});

test('what cannot be drawn is refused alike from disk', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_BALANCER__BUFFER_BUDGET: '16MiB',
    TOONFLEET_DATA_DIR: join(folder(context), '..'),
  });
  balancer.budget.count(16 * MEBIBYTE);
  for (const [body, status] of [
    [Buffer.from('GIF89a and more'), 415],
    [Buffer.from('no picture at all'), 415],
    [picture('', 15), 422],
    [picture(), 200],
  ] as const) {
    const answer = await fetch(`${balancer.url}/v1/images`, { method: 'POST', body: new Uint8Array(body) });
    assert.equal(answer.status, status);
    await answer.arrayBuffer();
  }
  balancer.budget.give(16 * MEBIBYTE);
});

test('a client that leaves while its photo goes to disk leaves nothing behind', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_BALANCER__BUFFER_BUDGET: '16MiB',
    TOONFLEET_DATA_DIR: join(folder(context), '..'),
  });
  balancer.budget.count(16 * MEBIBYTE);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.write('POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n');
  socket.write(Buffer.alloc(1_000_000));
  while (balancer.spill.budget.held === 0) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  while (balancer.spill.budget.held > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal((await balancer.logged(({ message }) => message === 'request')).end, 'CU');
  assert.equal(upstream.arrivals.length, 0);
  balancer.budget.give(16 * MEBIBYTE);
});
