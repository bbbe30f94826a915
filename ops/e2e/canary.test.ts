// A canary that answers everything and is slow under traffic: the balancer's verdict ends the rollout, and its node goes back by
// ssh. rollout.test.ts has the good one, and nodes that are bad without a balancer's word.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { statusSchema } from '../../config/admin.ts';
import { pictureMaker } from './clients.ts';
import { site, startCluster, toonfleet, until } from './cluster.ts';
import { makeRelease, noRollouts } from './releases.ts';
import { VM_ROOT, vmsOf } from './vms.ts';

/** Holds up what a balancer sends, and nobody else: a rollout's own picture comes as fast as ever. */
const SLOW = `
import http from 'node:http';
const { emit } = http.Server.prototype;
http.Server.prototype.emit = function (name, ...words) {
  if (words[0]?.headers?.['x-attempt'] === undefined) return emit.call(this, name, ...words);
  setTimeout(() => emit.call(this, name, ...words), 80);
  return true;
};
`;

/** Clients of one release by its name, until they are told to end; what came back, by status. */
async function clientsOf(url: string, release: string, count: number) {
  const make = await pictureMaker();
  const statuses = new Map<number, number>();
  let over = false;
  let sent = 0;
  const send = (agent: Agent) =>
    new Promise<number>((resolve) => {
      const picture = make(++sent);
      const sending = request(
        `${url}/v1/images?format=jpeg`,
        {
          method: 'POST',
          agent,
          headers: { 'content-type': 'image/png', 'content-length': picture.length, 'x-release': release },
        },
        (answer) => {
          answer.resume().once('close', () => resolve(answer.statusCode ?? 0));
        },
      );
      sending.once('error', () => resolve(0));
      sending.end(picture);
    });
  const client = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (!over) {
      const status = await send(agent);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await wait(status === 200 ? 5 : 100);
    }
    agent.destroy();
  };
  const all = Array.from({ length: count }, client);
  return {
    statuses,
    end: async () => {
      over = true;
      await Promise.all(all);
    },
  };
}

test('a canary that is slow under traffic goes back by ssh, and the others never get it', {
  skip: noRollouts(),
  timeout: 900_000,
}, async (context) => {
  const fleet = await vmsOf(context, ['a', 'b']);
  if (!fleet) return;
  const { vms, folder, env } = fleet;
  const place = await site(context, {
    ...env,
    // With bake_slower out of reach the balancer's word alone is on trial.
    TOONFLEET_ROLLOUT__BAKE: '1s',
  });
  const cluster = await startCluster(place, { args: ['--role', 'balancer'] });
  const first = makeRelease(folder, 'first');
  const slow = makeRelease(folder, 'slow', {
    version: '1.1.0',
    change: (top) => {
      const main = join(top, 'dist/server/main.js');
      writeFileSync(main, SLOW + readFileSync(main, 'utf8'));
    },
  });
  const serving = async () => {
    const { code, output } = await toonfleet(cluster, 'status', '--json');
    assert.equal(code, 0, output);
    const { nodes } = statusSchema.parse(JSON.parse(output));
    return nodes.map(({ release, available }) => (available ? release : 'out')).join(', ');
  };
  const begun = await toonfleet(place, 'rollout', first);
  assert.equal(begun.code, 0, begun.output);
  await until(
    async () => (await serving()) === 'first, first',
    60_000,
    () => 'the fleet serves its first release',
  );

  const usual = await clientsOf(cluster.url, 'first', 2);
  // They are told "no worker runs this release" until the canary is there, and again when it has gone.
  const curious = await clientsOf(cluster.url, 'slow', 3);
  context.after(() => Promise.all([usual.end(), curious.end()]));
  const patient = { ...place, env: { ...place.env, TOONFLEET_ROLLOUT__BAKE: '15s' } };
  const { code, output } = await toonfleet(patient, 'rollout', slow, '--canary', '30');
  await Promise.all([usual.end(), curious.end()]);
  context.diagnostic(
    `slow: ${JSON.stringify([...curious.statuses])}; first: ${JSON.stringify([...usual.statuses])}`,
  );
  assert.equal(code, 1, output);
  assert.match(output, /vm-1 failed at "bake": Half of its pictures take more than .* times as long/);
  assert.match(output, /vm-1 was put back to release first by itself and serves again\./);
  assert.match(output, /Not touched: vm-2\./);
  assert.deepEqual([...usual.statuses.keys()], [200]);
  await until(
    async () => (await serving()) === 'first, first',
    60_000,
    () => 'both serve the first release',
  );
  const { output: divided } = await toonfleet(cluster, 'traffic', '--json');
  assert.equal(JSON.parse(divided).weights, null, 'the share has ended');
  const links = await vms.run('vm-1', ['readlink', `${VM_ROOT}/current`, `${VM_ROOT}/previous`]);
  assert.match(links.output, /^releases\/first$/m);
  assert.doesNotMatch(links.output, /slow/, 'a later rollback does not lead there');
});
