// Workers whose slots somebody else takes too: another balancer, or clients of the node's shared port.

import assert from 'node:assert/strict';
import test from 'node:test';
import { type Arrival, echo, picture, startBalancer, startUpstream } from './test-upstream.ts';

const busy = ({ response }: Arrival) =>
  response.writeHead(503, { 'x-admission': 'busy', 'content-length': 0 }).end();

test('the line wakes by itself after busy answers, though nothing else happens', async (context) => {
  // Every picture hears "busy" a few times; then the slot is free, and nobody tells.
  const refused = new Map<string, number>();
  const upstream = await startUpstream(context, (arrival) => {
    const name = arrival.body.toString('latin1', picture().length);
    const times = refused.get(name) ?? 0;
    refused.set(name, times + 1);
    if (times < 3) busy(arrival);
    else echo(arrival);
  });
  // No check stirs the line meanwhile.
  const balancer = await startBalancer(context, [upstream], { TOONFLEET_BALANCER__CHECK_INTERVAL: '1m' });
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      fetch(`${balancer.url}/transform`, {
        method: 'POST',
        body: new Uint8Array(picture(String(i))),
        headers: { 'x-deadline-ms': '8000' },
      }),
    ),
  );
  for (const answer of answers) {
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
  }
  assert.equal(balancer.dispatch.queued, 0);
  assert.equal(upstream.mostHeld, 1);
  assert.ok(!balancer.lines.some(({ message }) => message === 'upstream ejected'));
});

test('two balancers on the same workers both get their pictures through, and no worker ever has two', async (context) => {
  const upstreams = await Promise.all(
    [1, 2].map(async () => {
      const upstream = await startUpstream(context);
      let drawing = false;
      upstream.behaviour = (arrival) => {
        if (drawing) return busy(arrival);
        drawing = true;
        setTimeout(() => {
          drawing = false;
          echo(arrival);
        }, 15);
      };
      return upstream;
    }),
  );
  const balancers = [await startBalancer(context, upstreams), await startBalancer(context, upstreams)];
  const statuses = await Promise.all(
    balancers.flatMap(({ url }) =>
      Array.from({ length: 10 }, async (_, i) => {
        const answer = await fetch(`${url}/transform`, {
          method: 'POST',
          body: new Uint8Array(picture(String(i))),
        });
        await answer.arrayBuffer();
        return answer.status;
      }),
    ),
  );
  assert.deepEqual(
    statuses,
    Array.from({ length: 20 }, () => 200),
  );
  for (const { pool, dispatch } of balancers) {
    assert.equal(dispatch.queued, 0);
    for (const { taken } of pool.upstreams()) assert.equal(taken, 0);
  }
});
