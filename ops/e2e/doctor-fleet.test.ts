import assert from 'node:assert/strict';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { HEADERS, INTERNAL_PATHS } from '../../config/contract.ts';
import { reportSchema } from '../doctor/finding.ts';
import { PACKAGE_ROOT, VERSION } from '../process/package.ts';
import { type Site, site, startCluster, toonfleet, until } from './cluster.ts';
import { examine, spawned, wrong } from './examination.ts';

const KEY = 'a key that the nodes of this test share';

/** This package as another release: what runs is the same, what it calls itself is not. */
function otherRelease(at: Site): string {
  const root = join(at.cwd, 'release');
  for (const part of ['dist', 'ops/toonfleet.mjs', 'server/models', 'package.json'])
    cpSync(join(PACKAGE_ROOT, part), join(root, part), { recursive: true });
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(root, 'node_modules'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as object;
  writeFileSync(join(root, 'package.json'), JSON.stringify({ ...manifest, version: '9.9.9' }));
  return join(root, 'ops/toonfleet.mjs');
}

test('a VM that runs is well by its own word and by its agent; another key and another release are told, and logs come from another VM', async (t) => {
  const at = await site(t, { TOONFLEET_NODE__KEY: KEY, TOONFLEET_NODE__NAME: 'vm-1' });
  const cluster = await startCluster(at);
  await untilKnown(at);
  // PM2 may hear of a worker's readiness a moment after the agent.
  let own: Awaited<ReturnType<typeof examine>> | undefined;
  await until(
    async () => {
      own = await examine(at);
      return own.findings.some(({ found }) => found.startsWith('worker: 2 online'));
    },
    60_000,
    () => `PM2 never heard that the workers are ready: ${JSON.stringify(own?.findings)}`,
  );
  assert.ok(own);
  assert.deepEqual(
    wrong(own.findings).filter(({ verdict }) => verdict === 'bad'),
    [],
  );
  assert.equal(own.code, 0);
  assert.ok(own.findings.some(({ found }) => /port \d+ \(balancer\.port\) is ours/.test(found)));
  assert.ok(
    own.findings.some(({ found }) => found.includes('its agent takes our key, and 2 workers answer')),
  );

  const ask = (path: string, headers: Record<string, string>) => fetch(at.agentUrl + path, { headers });
  assert.equal((await ask(INTERNAL_PATHS.doctor, {})).status, 401);
  const told = reportSchema.parse(
    await (await ask(INTERNAL_PATHS.doctor, { [HEADERS.nodeKey]: KEY })).json(),
  );
  assert.equal(told.node, 'vm-1');
  assert.equal(told.release, VERSION);
  assert.ok(told.findings.some(({ check, verdict }) => check === 'models' && verdict === 'ok'));

  // Another machine: a front of its own, with this node in its fleet.
  const front = await site(t, {
    TOONFLEET_NODE__NAME: 'front',
    TOONFLEET_NODE__KEY: KEY,
    TOONFLEET_NODES: JSON.stringify([{ agent: at.agentUrl }]),
  });
  const fleet = await toonfleet(front, 'doctor', '--role', 'balancer', '--fleet');
  assert.equal(fleet.code, 0, fleet.output);
  assert.match(fleet.output, /^vm-1 \(/m);
  assert.match(fleet.output, /^the fleet, from here$/m);
  assert.match(fleet.output, /clocks\s+the clock of 1 node is within/);

  const stranger = { ...front, env: { ...front.env, TOONFLEET_NODE__KEY: `${KEY}, but another` } };
  const refused = await toonfleet(stranger, 'doctor', '--role', 'balancer');
  assert.equal(refused.code, 1);
  assert.match(refused.output, /BAD {3}node key\s+.* does not take our node key/);

  const other = await spawned(
    [process.execPath, otherRelease(front), 'doctor', '--role', 'balancer'],
    front,
    {},
  );
  assert.match(other.output, /this command is 9\.9\.9, what runs is/);

  const logs = await toonfleet(front, 'logs', '--node', 'vm-1', '--app', 'worker', '--json');
  assert.equal(logs.code, 0, logs.output);
  const lines = logs.output
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{'));
  assert.ok(
    lines.some((line) => line.startsWith('{"vm":"vm-1",') && line.includes('"serving"')),
    logs.output,
  );

  await cluster.stop();
  const lost = await toonfleet(front, 'doctor', '--role', 'balancer');
  // This test's nodes live on loopback, where nobody is missed while nothing runs.
  assert.equal(lost.code, 0, lost.output);
});

async function untilKnown(at: Site): Promise<void> {
  await until(
    async () => {
      const answer = await fetch(at.agentUrl + INTERNAL_PATHS.node, { headers: { [HEADERS.nodeKey]: KEY } });
      const { workers } = (await answer.json()) as { workers: { state: string }[] };
      return workers.filter(({ state }) => state === 'ready').length === 2;
    },
    60_000,
    () => 'the workers never became ready',
  );
}
