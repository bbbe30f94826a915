import assert from 'node:assert/strict';
import test from 'node:test';
import { startBalancer, startUpstream } from './passage/test-upstream.ts';

test('whoever waits for the first checks finds somebody to draw, and the styles', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], {}, 0);
  await balancer.firstChecks(10_000);
  assert.equal(balancer.pool.usable(), true);
  assert.equal((await fetch(`${balancer.url}/v1/styles`)).status, 200);
});

test('a worker that loads its models, and one that is silent, hold nobody up', async (context) => {
  const loading = await startUpstream(context);
  loading.ready = { status: 503, body: { status: 'loading' } };
  const silent = await startUpstream(context);
  silent.ready = undefined;
  const balancer = await startBalancer(context, [loading], {}, 0);
  await balancer.firstChecks(600_000);
  assert.equal(balancer.pool.usable(), false);
  const other = await startBalancer(context, [silent], { TOONFLEET_BALANCER__CHECK_TIMEOUT: '1m' }, 0);
  await other.firstChecks(50);
  assert.equal(other.pool.usable(), false);
});
