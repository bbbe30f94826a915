// What 429 promises, on real sockets and by the real clock. That of 200 clients at least 180 are let in is shown in simulated
// time (promises.test.ts); here clients and balancer share a machine that may be at work, and some come late together.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { picture, startBalancer, startUpstream } from '../passage/test-upstream.ts';

/** Of those who come back; without a time of their own for each it would be a quarter. */
const LEAST = 0.75;

test('most of 200 clients that are refused at once and come back when they were told are let in', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [{ url: upstream.url, slots: 50 }], {
    TOONFLEET_BALANCER__RATE_LIMIT__REQUESTS: '50',
    TOONFLEET_BALANCER__RATE_LIMIT__PER: '1s',
  });
  const send = async (seed: number) => {
    const response = await fetch(`${balancer.url}/transform`, {
      method: 'POST',
      body: new Uint8Array(picture(String(seed))),
      headers: { 'content-type': 'image/png' },
    });
    await response.arrayBuffer();
    const returnAt = performance.now() + Number(response.headers.get('retry-after')) * 1000;
    return { status: response.status, returnAt };
  };
  const refused: { returnAt: number }[] = [];
  for (let seed = 0; refused.length < 200; seed += 50)
    for (const { status, returnAt } of await Promise.all(
      Array.from({ length: 50 }, (_, i) => send(seed + i)),
    ))
      if (status === 429) refused.push({ returnAt });
  const back = await Promise.all(
    refused.map(async ({ returnAt }, i) => {
      await wait(Math.max(0, returnAt - performance.now()));
      return (await send(10_000 + i)).status;
    }),
  );
  const admitted = back.filter((status) => status === 200).length;
  context.diagnostic(`${admitted} of ${refused.length} were let in`);
  assert.ok(admitted >= LEAST * refused.length, `${admitted} of ${refused.length}`);
});
