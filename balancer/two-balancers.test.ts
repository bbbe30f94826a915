// Two balancers before one fleet, each with a line of its own: the worker's slot is the truth.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import {
  type Arrival,
  echo,
  picture,
  startBalancer,
  startUpstream,
  type TestUpstream,
} from './passage/test-upstream.ts';

/** Admits one picture at a time, as a worker does, and counts. */
function oneSlot(upstream: TestUpstream) {
  const seen = { drawing: 0, most: 0, drawn: 0, refused: 0 };
  upstream.behaviour = (arrival: Arrival) => {
    if (seen.drawing > 0) {
      seen.refused += 1;
      arrival.response.writeHead(503, { 'x-admission': 'busy', 'content-length': 0 }).end();
      return;
    }
    seen.drawing += 1;
    seen.most = Math.max(seen.most, seen.drawing);
    void wait(3).then(() => {
      seen.drawing -= 1;
      seen.drawn += 1;
      echo(arrival);
    });
  };
  return seen;
}

test('two balancers never draw two pictures in one slot, fail none, and eject nobody for being busy', async (context) => {
  const upstreams = [await startUpstream(context), await startUpstream(context)];
  const slots = upstreams.map(oneSlot);
  const balancers = [await startBalancer(context, upstreams), await startBalancer(context, upstreams)];
  const answers = await Promise.all(
    balancers.flatMap(({ url }, front) =>
      Array.from({ length: 40 }, async (_, index) => {
        const photo = picture(`${front} ${index}`);
        const response = await fetch(`${url}/transform`, { method: 'POST', body: new Uint8Array(photo) });
        return response.status === 200 && Buffer.from(await response.arrayBuffer()).equals(photo);
      }),
    ),
  );
  assert.deepEqual(new Set(answers), new Set([true]), 'each client has its own picture');
  for (const { most } of slots) assert.equal(most, 1);
  assert.equal(
    slots.reduce((sum, { drawn }) => sum + drawn, 0),
    80,
    'none was drawn twice',
  );
  assert.ok(
    slots.some(({ refused }) => refused > 0),
    'they did meet at a slot',
  );
  for (const { pool, metrics } of balancers) {
    for (const { state, outlier } of pool.upstreams())
      assert.deepEqual([state.kind, outlier.kind], ['up', 'in']);
    assert.doesNotMatch(await metrics.registry.metrics(), /toonfleet_retries_total\{/, 'busy is no failure');
  }
});
