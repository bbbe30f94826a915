import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import type { WorkerReport, WorkerState } from '../config/contract.ts';
import { startAnnouncer } from './announce.ts';

interface Heard {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly key: unknown;
  readonly body: { id?: string; state?: WorkerState };
}

/** An agent that says "seen" when the test lets it. */
async function fakeAgent(
  t: TestContext,
  seen: (heard: Heard) => boolean,
  onHeard: (heard: Heard) => void = () => {},
) {
  const heard: Heard[] = [];
  const server = createServer(async (req: IncomingMessage, res) => {
    const body = JSON.parse(await text(req)) as Heard['body'];
    const each = { method: req.method, path: req.url, key: req.headers['x-node-key'], body };
    heard.push(each);
    onHeard(each);
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ seen: seen(each) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { heard, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const reportOf = (state: WorkerState): WorkerReport => ({
  id: 'vm-1-7',
  pid: 7,
  url: 'http://127.0.0.1:8100',
  slots: 1,
  state,
  models: ['meadow'],
  busy: 0,
  ms_per_megapixel: null,
  rss_bytes: 1,
  event_loop_lag_ms: 0,
});

test('a worker announces itself with its key until it is seen', async (t) => {
  const agent = await fakeAgent(t, () => agent.heard.length >= 3);
  const announcer = startAnnouncer({ agent: agent.url, key: 'secret', report: () => reportOf('ready') });
  await announcer.untilSeen(5000);
  assert.equal(agent.heard.length, 3);
  assert.deepEqual(agent.heard[0], {
    method: 'PUT',
    path: '/v1/node/workers',
    key: 'secret',
    body: reportOf('ready'),
  });
  await announcer.goodbye();
});

test('it waits no longer than it is told', async (t) => {
  const agent = await fakeAgent(t, () => false);
  const announcer = startAnnouncer({ agent: agent.url, key: undefined, report: () => reportOf('ready') });
  const started = performance.now();
  await announcer.untilSeen(250);
  assert.ok(performance.now() - started < 1500);
  assert.ok(agent.heard.length >= 2);
  await announcer.goodbye();
});

test('an absent agent keeps nobody waiting', async () => {
  const announcer = startAnnouncer({
    agent: 'http://127.0.0.1:1',
    key: undefined,
    report: () => reportOf('ready'),
  });
  const started = performance.now();
  await announcer.untilSeen(5000);
  assert.ok(performance.now() - started < 1000);
  await announcer.goodbye();
});

test('it repeats itself, and finds an agent that comes later', async (t) => {
  let beats = 0;
  await new Promise<void>((resolve, reject) => {
    fakeAgent(
      t,
      () => true,
      () => {
        beats++;
        if (beats === 3) resolve();
      },
    ).then((agent) => {
      const announcer = startAnnouncer({
        agent: agent.url,
        key: undefined,
        report: () => reportOf('ready'),
        heartbeatMs: 20,
      });
      t.after(() => announcer.goodbye());
    }, reject);
  });
});

test('the last word is goodbye, after the last state and before nothing', async (t) => {
  const agent = await fakeAgent(t, () => true);
  let state: WorkerState = 'ready';
  const announcer = startAnnouncer({
    agent: agent.url,
    key: undefined,
    report: () => reportOf(state),
    heartbeatMs: 5,
  });
  announcer.changed();
  state = 'draining';
  announcer.changed();
  await announcer.goodbye();
  const words = agent.heard.map(({ method, body }) => `${method} ${body.state ?? ''}`.trim());
  assert.equal(words.at(-1), 'DELETE');
  assert.equal(words.at(-2), 'PUT draining');
  assert.deepEqual(agent.heard.at(-1)?.body, { id: 'vm-1-7' });
  const count = agent.heard.length;
  announcer.changed();
  await announcer.untilSeen(10);
  assert.equal(agent.heard.length, count);
});
