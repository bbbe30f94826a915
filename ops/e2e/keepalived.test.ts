// A pair of balancers behind one address: real keepalived and real balancers in network namespaces of their own. The one
// that has the address dies, once its process and once its network; the gap that a client sees is measured.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { PACKAGE_ROOT } from '../process/package.ts';
import { toonfleet, until } from './cluster.ts';

const ADDRESS = '10.77.0.100';
const PORT = 8080;
/** Two failed checks of a second each, and what keepalived itself needs; a machine under test is busy too. */
const MAX_GAP_MS = 8_000;

const skip = whyNot();

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'only root may make network namespaces';
  if (spawnSync('keepalived', ['--version']).status !== 0)
    return 'keepalived is not installed: see .ci/install-system';
  if (!existsSync('/usr/bin/curl')) return 'curl is not installed: see .ci/install-system';
  const name = `toonfleet-try-${process.pid}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return 'network namespaces cannot be made here';
  spawnSync('ip', ['netns', 'del', name]);
  return false;
}

const ip = (...args: string[]) =>
  execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

/** A bridge with two fronts and a client, each in a namespace; all of it goes with the test. */
function buildNetwork(context: TestContext) {
  const tag = `${process.pid % 100_000}`;
  const bridge = `tfbr${tag}`;
  const hosts = ['a', 'b', 'c'].map((letter, index) => ({
    namespace: `toonfleet-${letter}-${tag}`,
    outside: `tf${letter}${tag}`,
    address: `10.77.0.${index + 1}`,
  }));
  context.after(() => {
    for (const { namespace, outside } of hosts) {
      spawnSync('ip', ['link', 'del', outside]);
      spawnSync('ip', ['netns', 'del', namespace]);
    }
    spawnSync('ip', ['link', 'del', bridge]);
  });
  ip('link', 'add', bridge, 'type', 'bridge');
  ip('link', 'set', bridge, 'up');
  for (const { namespace, outside, address } of hosts) {
    ip('netns', 'add', namespace);
    ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('link', 'set', outside, 'master', bridge, 'up');
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  const [first, second, client] = hosts;
  assert.ok(first && second && client);
  return { first, second, client };
}
type Host = ReturnType<typeof buildNetwork>['first'];

/** Runs a program in a namespace; it is killed with the test. */
function runIn(context: TestContext, host: Host, env: NodeJS.ProcessEnv, ...words: string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', host.namespace, ...words], {
    env,
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  context.after(async () => {
    await endGroup(child);
  });
  return child;
}

async function endGroup(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, signal);
  await exited;
}

/** One front: a balancer, and a keepalived that watches it. */
class Front {
  readonly host: Host;
  readonly #context: TestContext;
  readonly #env: NodeJS.ProcessEnv;
  readonly #dir: string;
  balancer: ChildProcess;

  constructor(context: TestContext, host: Host, peer: Host, priority: number) {
    this.#context = context;
    this.host = host;
    this.#dir = mkdtempSync(join(tmpdir(), 'pair-'));
    context.after(() => rmSync(this.#dir, { recursive: true, force: true }));
    this.#env = {
      ...process.env,
      TOONFLEET_DATA_DIR: this.#dir,
      TOONFLEET_LOG_LEVEL: 'error',
      TOONFLEET_NODE__NAME: host.namespace,
      TOONFLEET_BALANCER__PORT: String(PORT),
      TOONFLEET_UPSTREAMS: '[{"url":"http://127.0.0.1:9"}]',
      TOONFLEET_KEEPALIVED__INTERFACE: 'eth0',
      TOONFLEET_KEEPALIVED__ADDRESS: `${ADDRESS}/24`,
      TOONFLEET_KEEPALIVED__SOURCE: host.address,
      TOONFLEET_KEEPALIVED__PEERS: JSON.stringify([peer.address]),
      TOONFLEET_KEEPALIVED__PRIORITY: String(priority),
    };
    this.balancer = this.startBalancer();
  }

  startBalancer(): ChildProcess {
    this.balancer = runIn(
      this.#context,
      this.host,
      this.#env,
      process.execPath,
      '--import',
      'tsx',
      join(PACKAGE_ROOT, 'balancer/main.ts'),
    );
    return this.balancer;
  }

  /** Renders as an operator would, has keepalived judge it, and starts it. */
  async startKeepalived(): Promise<void> {
    const config = join(this.#dir, 'keepalived.conf');
    const place = { cwd: this.#dir, env: this.#env };
    const { code, output } = await toonfleet(place, 'keepalived', 'render', '--out', config);
    assert.equal(code, 0, output);
    const judged = spawnSync('keepalived', ['-t', '-f', config], { encoding: 'utf8' });
    assert.equal(judged.status, 0, `${judged.stderr}${readFileSync(config, 'utf8')}`);
    const pid = (name: string) => join(this.#dir, `${name}.pid`);
    const files = ['-p', pid('keepalived'), '-r', pid('vrrp'), '-c', pid('checkers')];
    runIn(this.#context, this.host, this.#env, 'keepalived', '-n', '-P', '-f', config, ...files);
  }

  hasAddress(): boolean {
    return ip('-n', this.host.namespace, '-4', 'addr', 'show', 'dev', 'eth0').includes(`${ADDRESS}/`);
  }
}

/** A client that asks for the page's liveness at the address again and again, and keeps when it was answered. */
class Client {
  readonly answers: number[] = [];
  readonly #child: ChildProcess;

  constructor(context: TestContext, host: Host) {
    const script = `
      const http = require('node:http');
      const ask = () => {
        const request = http.get({ host: '${ADDRESS}', port: ${PORT}, path: '/live', agent: false, timeout: 250 }, (answer) => {
          answer.resume().once('end', () => { process.stdout.write(Date.now() + ' ' + answer.statusCode + '\\n'); setTimeout(ask, 20); });
        });
        request.on('timeout', () => request.destroy(new Error('slow')));
        request.on('error', () => setTimeout(ask, 20));
      };
      ask();`;
    this.#child = spawn('ip', ['netns', 'exec', host.namespace, process.execPath, '-e', script], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.trim().split('\n'))
        if (line.endsWith(' 200')) this.answers.push(Number(line.split(' ')[0]));
    });
    context.after(() => endGroup(this.#child));
  }

  /** Waits for an answer that comes later than this moment. */
  async answeredAfter(moment: number): Promise<void> {
    await until(
      () => (this.answers.at(-1) ?? 0) > moment,
      20_000,
      () => `no answer at ${ADDRESS} any more`,
    );
  }

  /** The longest time without an answer since a moment, ms. */
  gapSince(moment: number): number {
    const before = this.answers.filter((at) => at <= moment).at(-1) ?? moment;
    const times = [before, ...this.answers.filter((at) => at > moment)];
    return Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)));
  }
}

test('the address moves to the balancer that lives', { skip }, async (context) => {
  const { first, second, client: outside } = buildNetwork(context);
  const [a, b] = [new Front(context, first, second, 150), new Front(context, second, first, 100)];
  await a.startKeepalived();
  await until(
    () => a.hasAddress(),
    20_000,
    () => 'nobody took the address',
  );
  await b.startKeepalived();
  const client = new Client(context, outside);
  await client.answeredAfter(Date.now());
  assert.equal(b.hasAddress(), false);

  await context.test('when the balancer’s process dies', async () => {
    const moment = Date.now();
    await endGroup(a.balancer);
    await until(
      () => b.hasAddress(),
      20_000,
      () => 'the second never took the address',
    );
    await client.answeredAfter(Date.now() + 100);
    await until(
      () => !a.hasAddress(),
      20_000,
      () => 'both have the address',
    );
    const gap = client.gapSince(moment);
    context.diagnostic(`balancer killed: the longest time without an answer was ${gap} ms`);
    assert.ok(gap < MAX_GAP_MS, `${gap} ms`);
  });

  await context.test('and stays there when the first one is back', async () => {
    a.startBalancer();
    const live = `http://${first.address}:${PORT}/live`;
    const asks = () =>
      spawnSync('ip', ['netns', 'exec', outside.namespace, 'curl', '-sf', '-m', '1', live]).status === 0;
    await until(asks, 20_000, () => 'the first balancer did not come back');
    const moment = Date.now();
    // Longer than two good checks and three advertisements.
    await client.answeredAfter(moment + 4_000);
    assert.deepEqual([a.hasAddress(), b.hasAddress()], [false, true]);
    assert.ok(client.gapSince(moment) < 1_500, 'nobody noticed');
  });

  await context.test('when the machine’s network dies', async () => {
    const moment = Date.now();
    ip('link', 'set', second.outside, 'down');
    await until(
      () => a.hasAddress(),
      20_000,
      () => 'the first never took the address back',
    );
    await client.answeredAfter(Date.now() + 100);
    const gap = client.gapSince(moment);
    context.diagnostic(`network gone: the longest time without an answer was ${gap} ms`);
    assert.ok(gap < MAX_GAP_MS, `${gap} ms`);
  });
});
