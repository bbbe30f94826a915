// Slow clients by the hundred, as slowhttptest plays them, and idle ones by the thousand, from one address of this machine;
// meanwhile somebody else, from another address, is served as ever. The settings are the defaults.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Cluster, site, startCluster, until } from './cluster.ts';
import { photo } from './pictures.ts';

const skip =
  spawnSync('slowhttptest', ['-h']).error !== undefined &&
  'slowhttptest is not installed: see .ci/install-system';

const CLIENTS = 500;
/** Who is slow comes from 127.0.0.1. */
const ANOTHER = '127.0.0.2';
/** An attack ends by itself before that when it has no connection left; a reader notices only once it has read all. */
const ATTACK_S = 60;
/** Connections to workers, and those of the good client, that come and go. */
const SOME = 12;

/** An attack under way. */
interface Attack {
  readonly goesOn: () => boolean;
  readonly stop: () => void;
  /** What the program says at its end. */
  readonly said: Promise<string>;
}

/** Attacks with 500 connections that all come within a second. */
function attack(context: TestContext, mode: readonly string[], url: string, cwd: string): Attack {
  const all = [...mode, '-c', CLIENTS, '-r', CLIENTS, '-p', 5, '-l', ATTACK_S, '-v', 1, '-u', url].map(
    String,
  );
  const child = spawn('slowhttptest', all, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const goesOn = () => child.exitCode === null && child.signalCode === null;
  context.after(() => child.kill('SIGKILL'));
  return {
    goesOn,
    stop: () => child.kill('SIGINT'),
    // biome-ignore lint/suspicious/noControlCharactersInRegex: its output has colours.
    said: once(child, 'close').then(() => text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, '')),
  };
}

/** What another client is answered; 0 when it is not. */
function ask(cluster: Cluster, path: string, body?: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const asking = request(
      cluster.url + path,
      {
        method: body ? 'POST' : 'GET',
        localAddress: ANOTHER,
        agent: false,
        signal: AbortSignal.timeout(15_000),
      },
      (answer) => {
        answer.resume().once('close', () => resolve(answer.complete ? (answer.statusCode ?? 0) : 0));
      },
    );
    asking.once('error', () => resolve(0));
    asking.end(body);
  });
}

/** Lets another client look ten times a second and have a picture drawn each second, until it is told to stop. */
function goodClient(cluster: Cluster, picture: Buffer) {
  const statuses: number[] = [];
  let over = false;
  const done = (async () => {
    for (let turn = 0; !over; turn++) {
      statuses.push(
        turn % 10 === 0 ? await ask(cluster, '/transform', picture) : await ask(cluster, '/v1/styles'),
      );
      await wait(100);
    }
  })();
  return async () => {
    over = true;
    await done;
    return statuses;
  };
}

function balancerPid({ home }: Cluster): number {
  const file = readdirSync(join(home, 'pids')).find((name) => name.startsWith('balancer'));
  return Number(readFileSync(join(home, 'pids', file ?? ''), 'utf8'));
}

/** The sockets that a process holds. */
function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

async function startQuiet(context: TestContext) {
  const cluster = await startCluster(await site(context));
  const picture = await photo(3, 128, 128);
  assert.equal(await ask(cluster, '/transform', picture), 200);
  const pid = balancerPid(cluster);
  return { cluster, picture, pid, before: socketsOf(pid) };
}

test('slow and idle clients are cut, and others are served meanwhile', { skip }, async (context) => {
  const { cluster, picture, pid, before } = await startQuiet(context);
  await context.test(
    '500 heads and 500 bodies that never end, and 500 readers of a byte every five seconds',
    async () => {
      const stop = goodClient(cluster, picture);
      const play = (mode: readonly string[], path: string) =>
        attack(context, mode, cluster.url + path, cluster.cwd);
      const heads = play(['-H', '-i', '2'], '/');
      const bodies = play(['-B', '-i', '2', '-s', '8192'], '/transform');
      const readers = play(['-X', '-w', '1', '-y', '2', '-n', '5', '-z', '1', '-k', '10'], '/openapi.json');
      let most = 0;
      await until(
        () => {
          most = Math.max(most, socketsOf(pid));
          return most >= before + 2 * CLIENTS;
        },
        10_000,
        () => `the balancer never had more than ${most} sockets`,
      );
      await until(
        () => socketsOf(pid) <= before + SOME,
        ATTACK_S * 1000,
        () => `${socketsOf(pid)} sockets instead of ${before}`,
      );
      assert.ok(readers.goesOn(), 'the readers would have read on');
      readers.stop();
      const said = await Promise.all([heads.said, bodies.said, readers.said]);
      const statuses = await stop();
      assert.ok(statuses.length > 20, `${statuses.length} answers`);
      assert.deepEqual([...new Set(statuses)], [200]);
      for (const text of said) {
        assert.match(text, /service available:\s+YES/);
        assert.doesNotMatch(text, /service available:\s+NO/);
      }
      for (const text of said.slice(0, 2)) assert.match(text, /Exit status: No open connections left/);
    },
  );

  await context.test('500 requests for a thousand ranges each', async () => {
    const [text = ''] = await Promise.all([
      attack(context, ['-R', '-a', '1', '-b', '3000'], `${cluster.url}/`, cluster.cwd).said,
      ask(cluster, '/transform', picture).then((status) => assert.equal(status, 200)),
    ]);
    assert.match(text, /Exit status: No open connections left/);
  });

  await context.test('2500 idle connections, which is more than there may be', async () => {
    const { port } = new URL(cluster.url);
    const crowd = Array.from({ length: 2500 }, () => net.connect(Number(port), '127.0.0.1'));
    for (const socket of crowd) socket.on('error', () => {}).resume();
    await until(
      () => socketsOf(pid) >= before + 1900,
      10_000,
      () => `${socketsOf(pid)} sockets`,
    );
    for (let each = 0; each < 20; each++) assert.equal(await ask(cluster, '/v1/styles'), 200);
    assert.equal(await ask(cluster, '/transform', picture), 200);
    for (const socket of crowd) socket.destroy();
    await until(
      () => socketsOf(pid) <= before + SOME,
      10_000,
      () => `${socketsOf(pid)} sockets instead of ${before}`,
    );
  });

  assert.equal(balancerPid(cluster), pid, 'the balancer is the one that was started');
});
