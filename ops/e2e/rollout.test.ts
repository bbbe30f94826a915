// Releases go out to three VMs by ssh under traffic, and back. Whatever goes wrong on the way, no picture fails, the release
// before serves, and the operator reads what to do next.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { parse } from 'yaml';
import { statusSchema } from '../../config/admin.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { type Traffic, traffic } from './clients.ts';
import { type Cluster, type Ended, type Site, site, startCluster, toonfleet, until } from './cluster.ts';
import { makeRelease, noRollouts } from './releases.ts';
import { NODE_KEY, VM_CONFIG, VM_ROOT, vmsOf } from './vms.ts';

const ZONES = ['a', 'a', 'b'];
/** The order in which the zones alternate. */
const ORDER = ['vm-1', 'vm-3', 'vm-2'];
const CLI = join(PACKAGE_ROOT, 'ops/toonfleet.mjs');

const skip = noRollouts();

/** What each node serves, as the balancer sees it. */
async function serving(cluster: Cluster): Promise<Record<string, string>> {
  const { code, output } = await toonfleet(cluster, 'status', '--json');
  assert.equal(code, 0, output);
  const { nodes } = statusSchema.parse(JSON.parse(output));
  return Object.fromEntries(
    nodes.map(({ id, release, available, draining }) => [
      id,
      draining ? 'drained' : available ? (release ?? '-') : 'out',
    ]),
  );
}

const everywhere = (release: string) =>
  Object.fromEntries(['vm-1', 'vm-2', 'vm-3'].map((name) => [name, release]));

/** A `toonfleet` command that goes on while the test does something else. */
function begin(place: Pick<Site, 'cwd' | 'env'>, ...args: string[]) {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: place.cwd,
    env: place.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, output })));
  return {
    child,
    ended,
    says: (words: RegExp) =>
      until(
        () => words.test(output),
        300_000,
        () => `never said ${words}:\n${output}`,
      ),
  };
}

// A busy machine takes its time: each turn of a VM is some twenty steps by ssh.
test('a fleet changes its release by ssh', { skip, timeout: 1_500_000 }, async (context) => {
  const fleet = await vmsOf(context, ZONES);
  if (!fleet) return;
  const { vms, folder, env } = fleet;
  const place = await site(context, {
    ...env,
    TOONFLEET_ROLLOUT__BAKE: '2s',
    TOONFLEET_ROLLOUT__READY_WITHIN: '20s',
  });
  const cluster = await startCluster(place, { args: ['--role', 'balancer'] });
  const releases = mkdtempSync(join(folder, 'releases-'));
  const first = makeRelease(releases, 'first');
  const second = makeRelease(releases, 'second', { version: '1.1.0' });
  // Before there is traffic: packing holds up this process, and with it the clients.
  const wrong = makeRelease(releases, 'wrong', { version: '1.2.0' });
  const third = makeRelease(releases, 'third', { version: '1.3.0' });
  const fat = makeRelease(releases, 'fat', {
    version: '1.3.0',
    change: (top) =>
      execFileSync('dd', [
        'if=/dev/urandom',
        `of=${join(top, 'ballast')}`,
        'bs=1M',
        'count=20',
        'status=none',
      ]),
  });
  const bad = makeRelease(releases, 'bad', {
    version: '1.4.0',
    change: (top) => writeFileSync(join(top, 'dist/server/main.js'), 'setInterval(() => {}, 1000);\n'),
  });
  const settled = (wanted: Record<string, string>) =>
    until(
      async () => JSON.stringify(await serving(cluster)) === JSON.stringify(wanted),
      60_000,
      () => `the fleet does not become ${JSON.stringify(wanted)}`,
    );
  let load: Traffic | undefined;
  context.after(() => load?.end());
  const noneFailed = () => {
    assert.deepEqual(load?.failures.slice(0, 20), []);
    context.diagnostic(`0 failed of ${load?.answered()}`);
  };

  /** One thing after the other: what follows a failure could only fail as well. */
  const part = async (name: string, act: () => Promise<void>) => {
    let fault: unknown;
    await context.test(name, async () => {
      await act().catch((error: unknown) => {
        fault = error;
        throw error;
      });
    });
    if (fault !== undefined) throw new Error(`it ended at: ${name}`);
  };

  await part('fresh VMs get their folders, their key and settings of their own, once', async () => {
    const fresh = { ...place.env, TOONFLEET_ROLLOUT__CONFIG: '/mnt/fresh/toonfleet.yaml' };
    const settingsOf = (name: string) => readFileSync(join(folder, name, 'fresh/toonfleet.yaml'), 'utf8');
    for (const zone of ['b', 'c']) {
      const { code, output } = await toonfleet(
        { ...place, env: fresh },
        'rollout',
        'prepare',
        '--zone',
        zone,
      );
      assert.equal(code, 0, output);
      for (const { address } of vms.all)
        assert.match(output, new RegExp(`${address} is ready for a release`));
    }
    for (const { name, address } of vms.all) {
      assert.deepEqual(parse(settingsOf(name)), {
        node: { zone: 'b', key_file: '/mnt/fresh/node.key' },
        worker: { host: address },
        agent: { host: address, port: 8001 },
      });
      assert.equal(readFileSync(join(folder, name, 'fresh/node.key'), 'utf8').trim(), NODE_KEY);
    }
  });

  await part('empty VMs get their first release', async () => {
    const { code, output } = await toonfleet(cluster, 'rollout', first);
    assert.equal(code, 0, output);
    for (const { address } of vms.all) assert.ok(output.includes(`${address}: nothing → first`), output);
    await settled(everywhere('first'));
  });
  load = await traffic(cluster.url, { kept: 3, fresh: 1 });

  await part(
    'a good release reaches every VM, the first with its share of the traffic, and a second rollout is told who is at it',
    async () => {
      const rollout = begin(place, 'rollout', second, '--canary', '30');
      await rollout.says(/vm-1: first → second/);
      const other = await toonfleet(cluster, 'rollout', second);
      assert.equal(other.code, 1);
      assert.match(
        other.output,
        /vm-1 is being changed by root on .* \(process \d+\) since .*: rollout of second/,
      );
      const { code, output } = await rollout.ended;
      assert.equal(code, 0, output);
      assert.deepEqual(
        [...output.matchAll(/^(vm-\d): first → second/gm)].map(([, name]) => name),
        ORDER,
      );
      const said = [
        'begins with 30 %',
        'vm-1: first → second',
        // All clients share one address, which draws the release of before: a bake without a picture is not called good.
        'nothing was shown of the canary: no picture came to it while it baked',
        'vm-3: first → second',
      ];
      assert.deepEqual(
        said.map((words) => output.indexOf(words)).sort((a, b) => a - b),
        said.map((words) => output.indexOf(words)),
        output,
      );
      assert.ok(
        said.every((words) => output.includes(words)),
        output,
      );
      context.diagnostic(output.trim().split('\n').at(-1) ?? '');
      await settled(everywhere('second'));
      const { output: divided } = await toonfleet(cluster, 'traffic', '--json');
      assert.equal(JSON.parse(divided).weights, null, 'the share has ended');
      noneFailed();
    },
  );

  await part(
    'an older release is refused, and so is one whose digest is wrong; nothing is touched',
    async () => {
      const older = await toonfleet(cluster, 'rollout', first);
      assert.equal(older.code, 1);
      assert.match(older.output, /older than second .*toonfleet rollback.*--allow-older/s);
      writeFileSync(`${wrong}.sha256`, `${'0'.repeat(64)}  x\n`);
      const { code, output } = await toonfleet(cluster, 'rollout', wrong);
      assert.equal(code, 1);
      assert.match(output, /its SHA-256 is [0-9a-f]{64}, and .* says 0{64}.*No node was touched/s);
      assert.deepEqual(await serving(cluster), everywhere('second'));
    },
  );

  await part('a VM that ssh does not reach stops it before anything is changed', async () => {
    const env = { ...place.env, TOONFLEET_ROLLOUT__PORT: '1' };
    const { code, output } = await toonfleet({ ...place, env }, 'rollout', third);
    assert.equal(code, 1);
    // ssh may be gone before Ansible has sent anything; then these are Ansible's words instead of ssh's.
    assert.match(output, /vm-1 could not be reached: .*(refused|could not be sent to remote host)/i);
    assert.match(output, /No release was changed/);
    assert.deepEqual(await serving(cluster), everywhere('second'));
  });

  await part('a release that does not fit on the disk changes nothing', async () => {
    const { code, output } = await toonfleet(cluster, 'rollout', fat);
    assert.equal(code, 1);
    assert.match(output, /vm-1 failed at "room": no space left: release fat needs/);
    assert.match(output, /vm-1 serves release second as before\./);
    assert.match(output, /Not touched: vm-3, vm-2\./);
    assert.deepEqual(await serving(cluster), everywhere('second'));
  });

  await part(
    'a release whose workers never become ready stops at the first VM, which goes back by itself',
    async () => {
      const { code, output } = await toonfleet(cluster, 'rollout', bad);
      assert.equal(code, 1, output);
      assert.match(
        output,
        /vm-1 failed at "ready": not ready with release bad after 20 s: no worker is ready/,
      );
      assert.match(output, /vm-1 was put back to release second by itself and serves again\./);
      assert.match(output, /Not touched: vm-3, vm-2\./);
      assert.match(output, /Next: /);
      await settled(everywhere('second'));
      noneFailed();
    },
  );

  await part('one command takes a release back', async () => {
    const from = performance.now();
    const { code, output } = await toonfleet(cluster, 'rollback');
    assert.equal(code, 0, output);
    context.diagnostic(`rollback of three VMs: ${((performance.now() - from) / 1000).toFixed(0)} s`);
    context.diagnostic(output.trim().split('\n').at(-1) ?? '');
    await settled(everywhere('first'));
    noneFailed();
  });

  await part(
    'a rollout that is killed leaves a lock, and the next one takes over and ends what was begun',
    async () => {
      const killed = begin(place, 'rollout', second, '--only', 'vm-1,vm-2');
      // It has drained the VM and is about to change it.
      await killed.says(/drain +[\d.]+ s/);
      killed.child.kill('SIGKILL');
      await killed.ended;
      const { code, output } = await toonfleet(cluster, 'rollout', second, '--only', 'vm-1');
      assert.equal(code, 0, output);
      assert.match(output, /vm-1: taking over from a rollout that has died \(root on /);
      assert.doesNotMatch(output, /stays drained/);
      await settled({ 'vm-1': 'second', 'vm-2': 'first', 'vm-3': 'first' });
      noneFailed();
    },
  );
  await part(
    'a VM follows what a Git repository names, once, and signed commits only when told so',
    async () => {
      const repository = join(folder, 'fleet.git');
      const git = (...args: string[]) =>
        execFileSync('git', [
          '-C',
          repository,
          '-c',
          'user.name=ops',
          '-c',
          'user.email=ops@example.com',
          ...args,
        ]);
      mkdirSync(repository);
      git('init', '--quiet', '--initial-branch=main');
      const digest = createHash('sha256').update(readFileSync(second)).digest('hex');
      writeFileSync(
        join(repository, 'release.yml'),
        JSON.stringify({ release_id: 'second', sha256: digest, tarball: second }),
      );
      git('add', 'release.yml');
      git('commit', '--quiet', '--no-gpg-sign', '-m', 'second');
      const pull = (vm: string, ...flags: string[]) =>
        vms.run(vm, [
          `${VM_ROOT}/current/ops/rollout/pull.sh`,
          '--root',
          VM_ROOT,
          '--config',
          VM_CONFIG,
          '--supervisor',
          'pm2',
          '--node',
          process.execPath,
          ...flags,
          repository,
        ]);
      const unsigned = await pull('vm-3', '--verify-commit');
      assert.notEqual(unsigned.code, 0, unsigned.output);
      assert.match(unsigned.output, /verify/i);
      // The rollout that was killed before had locked that VM too.
      const refused = await pull('vm-2');
      assert.notEqual(refused.code, 0, refused.output);
      assert.match(refused.output, /this node is locked by root on .* rollout of second\./);
      const followed = await pull('vm-3');
      assert.equal(followed.code, 0, followed.output);
      await settled({ 'vm-1': 'second', 'vm-2': 'first', 'vm-3': 'second' });
      const again = await pull('vm-3');
      assert.equal(again.code, 0, again.output);
      assert.doesNotMatch(again.output, /TASK \[restart\]/);
      noneFailed();
    },
  );
  await load.end();
  noneFailed();
});
