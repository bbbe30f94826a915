import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type Arrival,
  echo,
  picture,
  startBalancer,
  startUpstream,
  type TestBalancer,
} from '../passage/test-upstream.ts';

const send = (balancer: TestBalancer, body: Buffer, headers: Record<string, string> = {}) =>
  fetch(`${balancer.url}/transform`, { method: 'POST', body: new Uint8Array(body), headers });
const queued = async (balancer: TestBalancer, count: number) => {
  while (balancer.dispatch.queued < count) await new Promise((resolve) => setImmediate(resolve));
};
/** What a picture carries behind its header: its name. */
const nameOf = ({ body }: Arrival) => body.toString('latin1', picture().length);

/** One worker that keeps each picture until the test lets it go, and a balancer that knows what pictures cost. */
async function one(context: test.TestContext, env: Record<string, string> = {}) {
  const held: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => held.push(arrival));
  const balancer = await startBalancer(context, [upstream], env);
  const letGo = () => {
    const arrival = held.shift();
    assert.ok(arrival);
    echo(arrival);
  };
  return { upstream, balancer, letGo };
}

/** Sends while the slot is taken, then lets everything through; the names in the order in which they arrived. */
async function orderOf(
  { upstream, balancer, letGo }: Awaited<ReturnType<typeof one>>,
  requests: readonly { name: string; side?: number; headers?: Record<string, string> }[],
) {
  const answers = [send(balancer, picture('first'))];
  await upstream.arrived(1);
  for (const [index, { name, side, headers }] of requests.entries()) {
    answers.push(send(balancer, picture(name, side), headers));
    await queued(balancer, index + 1);
  }
  for (let count = 1; count <= requests.length + 1; count++) {
    await upstream.arrived(count);
    letGo();
  }
  for (const answer of answers) assert.equal((await answer).status, 200);
  return upstream.arrivals.slice(1).map(nameOf);
}

test('a small picture passes a large one that came just before it', async (context) => {
  const parts = await one(context);
  for (let i = 0; i < 20; i++) parts.balancer.costs.learn(undefined, 1, 2000);
  const order = await orderOf(parts, [{ name: 'large', side: 1000 }, { name: 'small' }]);
  assert.deepEqual(order, ['small', 'large']);
});

test('with order fifo it does not', async (context) => {
  const parts = await one(context, { TOONFLEET_BALANCER__ORDER: 'fifo' });
  for (let i = 0; i < 20; i++) parts.balancer.costs.learn(undefined, 1, 2000);
  const order = await orderOf(parts, [{ name: 'large', side: 1000 }, { name: 'small' }]);
  assert.deepEqual(order, ['large', 'small']);
});

test('batch work waits behind live users', async (context) => {
  const parts = await one(context);
  const order = await orderOf(parts, [
    { name: 'batch', headers: { 'x-priority': 'batch' } },
    { name: 'live' },
  ]);
  assert.deepEqual(order, ['live', 'batch']);
});

test('what cannot finish is refused at once, with the way back and the length of the line', async (context) => {
  const { upstream, balancer, letGo } = await one(context);
  for (let i = 0; i < 20; i++) balancer.costs.learn(undefined, 1, 2_000_000);
  const running = send(balancer, picture('1', 1000));
  await upstream.arrived(1);
  const refused = await send(balancer, picture('2', 1000), { 'x-deadline-ms': '5000' });
  assert.equal(refused.status, 503);
  const body = (await refused.json()) as { code: string };
  assert.equal(body.code, 'overloaded');
  assert.equal(refused.headers.get('x-queue-length'), '0');
  assert.ok(Number(refused.headers.get('retry-after')) > 500);
  assert.match(await balancer.metrics.registry.metrics(), /toonfleet_shed_total\{reason="hopeless"\} 1/);
  const line = await balancer.logged(({ message, code }) => message === 'request' && code === 'overloaded');
  assert.equal(line.end, 'SH');
  letGo();
  await running;
  assert.equal(upstream.arrivals.length, 1);
  const whole = await balancer.logged(({ message, status }) => message === 'request' && status === 200);
  assert.equal(whole.end, '--');
  const ms = whole.ms as Record<string, number>;
  for (const stage of ['upload', 'queue', 'connect', 'node', 'total'])
    assert.ok((ms[stage] ?? -1) >= 0, stage);
});

test('what is hopeless by its headers is refused before its body is taken', async (context) => {
  const { upstream, balancer, letGo } = await one(context);
  for (let i = 0; i < 20; i++) balancer.costs.learn(undefined, 0.004096, 20_000);
  const running = send(balancer, picture('1'));
  await upstream.arrived(1);
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(picture('never ends')));
    },
  });
  const refused = await fetch(`${balancer.url}/transform`, {
    method: 'POST',
    body,
    duplex: 'half',
    headers: { 'x-deadline-ms': '3000' },
  } as RequestInit);
  assert.equal(refused.status, 503);
  await refused.body?.cancel();
  letGo();
  await running;
});

test('what a picture costs is learnt from the time that it kept its slot', async (context) => {
  const upstream = await startUpstream(context, (arrival) => setTimeout(() => echo(arrival), 80));
  const balancer = await startBalancer(context, [upstream]);
  for (let i = 0; i < 3; i++) await (await send(balancer, picture(String(i)))).arrayBuffer();
  const expected = balancer.costs.expect(undefined, 64 * 64e-6);
  assert.ok(expected > 75 && expected < 300, `${expected}`);
});
