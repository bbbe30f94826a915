// A second VM is woken and parked by programs, under traffic: a real node of this machine that a script starts and stops.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { statusSchema } from '../../config/admin.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { pictureMaker, post, underTraffic } from './clients.ts';
import { type Cluster, type Site, site, startCluster, toonfleet, until, untilWorkers } from './cluster.ts';

const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');

/** A program that starts and stops the node of a place, as one would start and stop a VM. */
function vmProgram(at: Site): string {
  const settings = Object.entries(at.env)
    .filter(([name]) => name.startsWith('TOONFLEET_') && name !== 'TOONFLEET_TEST_ASSETS')
    .map(([name, value]) => `${name}='${value}'`);
  const script = join(at.cwd, 'vm');
  const pid = join(at.cwd, 'vm.pid');
  writeFileSync(
    script,
    `#!/bin/sh
cd '${at.cwd}'
case "$1" in
start)
  ${settings.join(' \\\n  ')} setsid '${process.execPath}' '${CLI}' start --role node > vm.log 2>&1 &
  echo $! > '${pid}' ;;
stop)
  kill -INT "$(cat '${pid}')"
  while kill -0 "$(cat '${pid}')" 2> vm.err; do sleep 0.1; done
  rm '${pid}' ;;
esac
`,
  );
  chmodSync(script, 0o755);
  at.closers.push(async () => {
    if (!existsSync(pid)) return;
    const child = spawn(script, ['stop']);
    await once(child, 'close');
  });
  return script;
}

/** `toonfleet autoscale`, until the test is over. */
function autoscaling(context: TestContext, cluster: Cluster): () => string {
  const child = spawn(process.execPath, [CLI, 'autoscale'], {
    cwd: cluster.cwd,
    env: cluster.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  context.after(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGINT');
    await once(child, 'close');
  });
  return () => said;
}

async function nodesOf(cluster: Cluster) {
  const { code, output } = await toonfleet(cluster, 'status', '--json');
  assert.equal(code, 0, output);
  return statusSchema.parse(JSON.parse(output)).nodes;
}

test('a second node is woken under load and parked in quiet, without a lost request; hooks that fail or hang cost nothing', async (context) => {
  const second = await site(context, { TOONFLEET_NODE__NAME: 'second', TOONFLEET_WORKER__COUNT: '1' });
  const vm = vmProgram(second);
  const first = await site(context, {
    TOONFLEET_BALANCER__ADMIN_TOKEN: 'an admin token of a test',
    TOONFLEET_WORKER__COUNT: '1',
    TOONFLEET_WORKER__DRAIN_GRACE: '1s',
    TOONFLEET_AUTOSCALE__WAKE: JSON.stringify([vm, 'start']),
    TOONFLEET_AUTOSCALE__PARK: JSON.stringify([vm, 'stop']),
    TOONFLEET_AUTOSCALE__NODES: JSON.stringify([new URL(second.agentUrl).host]),
    TOONFLEET_AUTOSCALE__COOL_DOWN: '1s',
    TOONFLEET_AUTOSCALE__INTERVAL: '1s',
    TOONFLEET_AUTOSCALE__DOWN_AFTER: '5s',
    TOONFLEET_AUTOSCALE__SLOTS: '60',
  });
  const cluster = await startCluster({
    ...first,
    env: {
      ...first.env,
      TOONFLEET_NODES: JSON.stringify([{ agent: first.agentUrl }, { agent: second.agentUrl }]),
    },
  });
  await untilWorkers(cluster, 1);
  const once1 = (...args: string[]) => toonfleet(cluster, 'autoscale', '--once', ...args);
  const broken = (script: string) => ({
    ...cluster,
    env: {
      ...cluster.env,
      TOONFLEET_AUTOSCALE__WAKE: JSON.stringify(['/bin/sh', '-c', script]),
      TOONFLEET_AUTOSCALE__HOOK_TIMEOUT: '500ms',
      TOONFLEET_AUTOSCALE__COOL_DOWN: '0s',
    },
  });

  const times = { up: 0, down: 0 };
  let said: () => string = () => '';
  const busy = await underTraffic(cluster.url, { kept: 3, fresh: 2, side: 256 }, async () => {
    await until(
      async () => / would wake 127\.0\.0\.1:/.test((await once1('--dry-run')).output),
      30_000,
      () => 'a dry run says that it would wake the second node',
    );
    const failed = await toonfleet(broken('echo no quota; exit 9'), 'autoscale', '--once');
    assert.equal(failed.code, 1);
    assert.match(failed.output, /^127\.0\.0\.1:\d+ could not be woken: \/bin\/sh ended with 9: no quota$/m);
    const hung = await toonfleet(broken('sleep 600'), 'autoscale', '--once');
    assert.equal(hung.code, 1);
    assert.match(hung.output, /took longer than 500 ms and was killed/);

    said = autoscaling(context, cluster);
    const began = performance.now();
    await until(
      async () => (await nodesOf(cluster)).filter(({ available }) => available).length === 2,
      120_000,
      () =>
        `the second node draws:\n${said()}\n${existsSync(join(second.cwd, 'vm.log')) ? readFileSync(join(second.cwd, 'vm.log'), 'utf8') : ''}`,
    );
    times.up = performance.now() - began;
    const beside = await once1();
    assert.equal(beside.code, 1);
    assert.match(beside.output, /toonfleet autoscale is under way .*; one is enough for a fleet/);
  });

  const make = await pictureMaker();
  const agent = new Agent({ keepAlive: true });
  const failures: string[] = [];
  let quiet = 0;
  const began = performance.now();
  while (!/a VM is parked/.test(said())) {
    const outcome = await post(cluster.url, make(0x30000000 + quiet++), agent);
    if (outcome !== undefined) failures.push(outcome);
    await wait(100);
    assert.ok(performance.now() - began < 120_000, said());
  }
  times.down = performance.now() - began;
  agent.destroy();
  const [kept, parked] = await nodesOf(cluster);
  assert.deepEqual([kept?.available, parked?.available], [true, false]);
  assert.match(parked?.fault ?? '', /the agent does not answer/);
  const metrics = await (await fetch(`${cluster.adminUrl}/metrics`)).text();
  assert.ok(
    metrics.includes(`\ntoonfleet_autoscale_parked{agent="${new URL(second.agentUrl).host}"} 1\n`),
    metrics,
  );
  context.diagnostic(
    `woken in ${(times.up / 1000).toFixed(1)} s, parked in ${(times.down / 1000).toFixed(1)} s; ${busy.failures.length + failures.length} failed of ${busy.answered() + quiet}`,
  );
  assert.deepEqual([...busy.failures, ...failures], []);
});
