// Slot, queue, deadlines and leaving, as a balancer and as direct clients meet them. Inference is scripted: it is done
// when the test says so.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jpeg } from './test-pictures.ts';
import { type Answer, type Ask, ask, NO_FACES, scriptedInference, startTestWorker } from './test-worker.ts';

async function scripted(t: TestContext, options: Parameters<typeof startTestWorker>[1] = {}) {
  const script = scriptedInference();
  const worker = await startTestWorker(t, { inference: script.inference, ...options });
  const photo = await jpeg();
  const post = (headers: Record<string, string> = {}, more: Ask = {}): Promise<Answer> =>
    ask(worker.port, '/v1/images', {
      body: photo,
      headers: { 'content-type': 'image/jpeg', ...headers },
      ...more,
    });
  const attempt = (more: Ask = {}) => post({ 'x-attempt': '1' }, more);
  return { ...script, ...worker, post, attempt, photo };
}

/** Settles when a condition holds; looks once a turn of the loop. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}

test('a balancer’s request that finds no free slot hears busy at once, uncharged', async (t) => {
  const { attempt, begun, finish, parts } = await scripted(t);
  const first = attempt();
  await begun();
  const second = await attempt();
  assert.equal(second.status, 503);
  assert.equal(second.headers['x-admission'], 'busy');
  assert.equal(second.json().code, 'overloaded');
  assert.ok(Number(second.headers['retry-after']) >= 1);
  finish();
  assert.equal((await first).status, 200);
  assert.equal(parts.slot.busy, false);
});

test('busy is heard before the body is sent', async (t) => {
  const { attempt, begun, finish } = await scripted(t);
  const first = attempt();
  await begun();
  const second = await attempt({
    body: undefined,
    headers: { 'x-attempt': '1', 'content-length': '500000' },
    drive: (request) => request.flushHeaders(),
    method: 'POST',
  });
  assert.equal(second.headers['x-admission'], 'busy');
  finish();
  await first;
});

test('the connection of a busy answer can be used again', async (t) => {
  const { attempt, begun, finish } = await scripted(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const first = attempt();
  await begun();
  const second = await attempt({ agent, body: Buffer.alloc(3 * 1024 ** 2) });
  assert.equal(second.headers['x-admission'], 'busy');
  assert.notEqual(second.headers.connection, 'close');
  finish();
  await first;
  const third = attempt({ agent });
  await begun();
  finish();
  assert.equal((await third).status, 200);
});

test('a refusal is not lost in a reset when its client goes on sending', async (t) => {
  const { port } = await scripted(t, { env: { TOONFLEET_LIMITS__UPLOAD: '100KiB' } });
  const body = Buffer.alloc(900 * 1024);
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  // A client that does not listen before it has said everything, as many do.
  socket.pause();
  socket.write(
    `POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  for (let at = 0; at < body.length; at += 64 * 1024) {
    await new Promise((done) => socket.write(body.subarray(at, at + 64 * 1024), done));
    await new Promise(setImmediate);
  }
  socket.resume();
  await once(socket, 'close');
  assert.match(heard, /^HTTP\/1\.1 413 [\s\S]*upload_too_large/);
});

test('the slot is free, and the balancer is told so, before the answer is there', async (t) => {
  const { attempt, begun, finish, parts } = await scripted(t);
  const order: string[] = [];
  const first = attempt({
    // Large enough that encoding it takes longer than telling.
    body: await jpeg(1000, 1000),
    onInterim: (status) => order.push(`${status}, busy: ${parts.slot.busy}`),
  }).then(() => order.push('answer'));
  await begun();
  assert.deepEqual(order, []);
  finish();
  await first;
  assert.deepEqual(order, ['102, busy: false', 'answer']);
});

test('a direct client is never sent 102', async (t) => {
  const { post, begun, finish } = await scripted(t);
  const interim: number[] = [];
  const first = post({}, { onInterim: (status) => interim.push(status) });
  await begun();
  finish();
  await first;
  assert.deepEqual(interim, []);
});

test('direct requests wait for the slot in order', async (t) => {
  const { post, begun, finish, parts } = await scripted(t);
  const all = [post()];
  await begun();
  for (let waiting = 1; waiting <= 3; waiting++) {
    all.push(post());
    await until(() => parts.slot.queued === waiting);
  }
  for (let each = 0; each < 4; each++) {
    finish();
    if (each < 3) await begun();
  }
  const answers = await Promise.all(all);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  assert.match(String(answers[3]?.headers['server-timing']), /queue;dur=/);
});

test('a direct request past its deadline, or in front of a full queue, is overloaded', async (t) => {
  const { post, begun, finish, parts } = await scripted(t, { env: { TOONFLEET_WORKER__QUEUE_LENGTH: '1' } });
  const first = post();
  await begun();
  const patient = post();
  await until(() => parts.slot.queued === 1);
  const full = await post();
  assert.deepEqual([full.status, full.json().code], [503, 'overloaded']);
  assert.equal(full.headers['x-admission'], undefined);
  finish();
  await begun();
  const hasty = await post({ 'x-deadline-ms': '30' });
  assert.deepEqual([hasty.status, hasty.json().code], [503, 'overloaded']);
  finish();
  await Promise.all([first, patient]);
});

test('work that was dispatched and overran its deadline is 504', async (t) => {
  const { attempt, begun, finish } = await scripted(t);
  const late = attempt({ headers: { 'x-attempt': '1', 'x-deadline-ms': '60' } });
  await begun();
  await new Promise((resolve) => setTimeout(resolve, 80));
  finish();
  const answer = await late;
  assert.deepEqual([answer.status, answer.json().code], [504, 'deadline_exceeded']);
});

test('a slow direct upload holds no slot', async (t) => {
  const { port, photo, attempt, begun, finish } = await scripted(t);
  const slow = httpRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/images',
    headers: { 'content-type': 'image/jpeg', 'content-length': photo.length },
  });
  slow.on('error', () => {});
  t.after(() => slow.destroy());
  slow.write(photo.subarray(0, 100));
  const fast = attempt();
  await begun();
  finish();
  assert.equal((await fast).status, 200);
});

test('an upload that does not come is 408 in the shape of its path', async (t) => {
  const { port } = await scripted(t);
  const answer = await ask(port, '/v1/images', {
    method: 'POST',
    headers: { 'content-type': 'image/jpeg', 'content-length': '5000', 'x-deadline-ms': '50' },
    drive: (request) => request.write('x'),
  });
  assert.deepEqual([answer.status, answer.json().code], [408, 'upload_too_slow']);
});

test('a client who leaves while he waits gives up his place', async (t) => {
  const { port, photo, post, begun, finish, count, parts } = await scripted(t);
  const first = post();
  await begun();
  const leaver = httpRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/images',
    headers: { 'content-type': 'image/jpeg', 'content-length': photo.length },
  });
  leaver.on('error', () => {});
  leaver.end(photo);
  await until(() => parts.slot.queued === 1);
  leaver.destroy();
  await until(() => parts.slot.queued === 0);
  finish();
  await first;
  assert.equal(count(), 1, 'nothing was drawn for him');
  assert.equal(parts.slot.busy, false);
});

test('a fault of inference is 500 without a word about it, and the slot comes back', async (t) => {
  const { port, parts, photo } = await scripted(t, {
    inference: {
      ...NO_FACES,
      load: () => Promise.reject(new Error('no')),
      run: () => Promise.reject(new Error('secret tensor fault')),
      close: () => Promise.resolve(),
    },
  });
  const answer = await ask(port, '/v1/images', { body: photo, headers: { 'x-attempt': '1' } });
  assert.deepEqual([answer.status, answer.json().code], [500, 'internal_error']);
  assert.doesNotMatch(answer.body.toString('utf8'), /secret/);
  assert.equal(parts.slot.busy, false);
});

test('while it loads, a worker lives but is not ready, says why, and draws nothing', async (t) => {
  const { port, post } = await scripted(t, { ready: false });
  const ready = await ask(port, '/ready');
  assert.equal(ready.status, 503);
  assert.deepEqual([ready.json().status, ready.json().detail], ['loading', 'the models are being loaded']);
  const health = await ask(port, '/health');
  assert.deepEqual([health.status, health.json().model_loaded], [503, false]);
  assert.equal((await ask(port, '/live')).status, 200);
  assert.equal((await ask(port, '/')).status, 200);
  const drawn = await post();
  assert.deepEqual([drawn.status, drawn.json().code], [503, 'no_upstream']);
});

test('a draining worker sends balancers away, finishes what it has, and still serves who comes without one', async (t) => {
  const { port, post, attempt, begun, finish, parts } = await scripted(t);
  const running = attempt();
  await begun();
  parts.readiness.happened({ kind: 'drain' });
  const refused = await attempt();
  assert.deepEqual(
    [refused.status, refused.headers['x-admission'], refused.json().code],
    [503, 'draining', 'draining'],
  );
  const ready = await ask(port, '/ready');
  assert.deepEqual([ready.status, ready.json().status], [503, 'draining']);
  finish();
  assert.equal((await running).status, 200);
  const direct = post();
  await begun();
  finish();
  const answer = await direct;
  assert.deepEqual([answer.status, answer.headers.connection], [200, 'close']);
});

test('a port that is left serves its keep-alive clients once more and tells them to go', async (t) => {
  const { port, listening, parts } = await scripted(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  assert.notEqual((await ask(port, '/ready', { agent })).headers.connection, 'close');
  parts.readiness.happened({ kind: 'drain' });
  listening.stopAccepting();
  const last = await ask(port, '/live', { agent });
  assert.deepEqual([last.status, last.headers.connection], [200, 'close']);
  await listening.empty;
  await assert.rejects(ask(port, '/live'), /ECONNREFUSED/);
});

test('with a node key only who has it is served, except for /live', async (t) => {
  const key = 'k'.repeat(24);
  const { port, attempt } = await scripted(t, { env: { TOONFLEET_NODE__KEY: key } });
  assert.equal((await ask(port, '/live')).status, 200);
  for (const path of ['/ready', '/v1/styles', '/internal/worker'])
    assert.equal((await ask(port, path)).json().code, 'unauthorized');
  assert.equal((await attempt()).status, 401);
  assert.equal((await ask(port, '/ready', { headers: { 'x-node-key': `${key}x` } })).status, 401);
  assert.equal((await ask(port, '/ready', { headers: { 'x-node-key': key } })).status, 200);
});

test('headers that are too large, and garbage, are answered and ended', async (t) => {
  const { port } = await scripted(t);
  const large = await ask(port, '/live', { headers: { 'x-large': 'x'.repeat(9000) } });
  assert.equal(large.status, 431);
  const socket = connect(port, '127.0.0.1', () => socket.write('what is this\r\n\r\n'));
  let heard = '';
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  await once(socket, 'close');
  assert.match(heard, /^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/);
});

test('direct clients that never pause and a balancer that asks again both advance', async (t) => {
  const { attempt, post, begun, finish } = await scripted(t);
  const goal = 5;
  let [direct, balanced, busy] = [0, 0, 0];
  const done = () => direct >= goal && balanced >= goal;
  const directClient = async () => {
    while (!done()) {
      assert.equal((await post()).status, 200);
      direct += 1;
    }
  };
  const balancer = async () => {
    while (!done()) {
      const { status, headers } = await attempt();
      if (status === 200) balanced += 1;
      else {
        assert.equal(headers['x-admission'], 'busy');
        busy += 1;
        await sleep(30);
      }
    }
  };
  const clients = Promise.all([directClient(), directClient(), balancer()]);
  let over = false;
  void clients.finally(() => {
    over = true;
  });
  const runs = (async () => {
    while (!over) {
      await Promise.race([begun(), clients]);
      await sleep(20);
      finish();
    }
  })();
  await clients;
  await runs;
  assert.ok(busy > 0);
  assert.ok(direct <= 6 * goal, `${direct} direct beside ${balanced}`);
});
