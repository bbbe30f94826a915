// Watching for real: promtool and amtool judge what is rendered, a Prometheus scrapes a cluster of two nodes, and the death
// of one goes through Alertmanager and the relay to the team's chat and to the hook. Only WeCom itself is a double.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { z } from 'zod';
import { PACKAGE_ROOT } from '../process/package.ts';
import { freePorts } from '../process/trial.ts';
import { traffic } from './clients.ts';
import { type Site, site, startCluster, toonfleet, until } from './cluster.ts';

const missing = ['prometheus', 'promtool', 'prometheus-alertmanager', 'amtool'].filter(
  (program) => spawnSync(program, ['--version']).error !== undefined,
);
const skip = missing.length > 0 && `${missing.join(' and ')}: not installed here`;

const RULES = join(PACKAGE_ROOT, 'ops/alerts/toonfleet.rules.yml');

/** Runs a program to its end, which must be a good one; what it printed. */
function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

test('promtool: the rules are good, each alert fires where it must and only there', { skip }, (context) => {
  context.diagnostic(run('promtool', 'check', 'rules', RULES).trim().replaceAll('\n', ' '));
  run('promtool', 'test', 'rules', join(PACKAGE_ROOT, 'ops/alerts/toonfleet.rules.test.yml'));
});

const RELAY = {
  TOONFLEET_ALERTS__RELAY__TOKEN: 'a token of the relay',
  TOONFLEET_ALERTS__RELAY__WECOM_KEY: 'the-key-of-a-robot',
};

test('promtool and amtool: what is rendered is good, and each alert goes where it should', {
  skip,
}, async (context) => {
  const at = await site(context, {
    ...RELAY,
    TOONFLEET_ALERTS__RELAY__HOOK: '["/bin/true"]',
    TOONFLEET_ALERTS__RELAY__SMS__PROVIDER: 'http',
    TOONFLEET_ALERTS__RELAY__SMS__URL: 'http://127.0.0.1:9/sms',
    TOONFLEET_ALERTS__RELAY__SMS__PHONES: '["13800000000"]',
  });
  const { code, output } = await toonfleet(at, 'prometheus', 'render', '--out', join(at.cwd, 'prometheus'));
  assert.equal(code, 0, output);
  run('promtool', 'check', 'config', join(at.cwd, 'prometheus/prometheus.yml'));
  const config = join(at.cwd, 'prometheus/alertmanager.yml');
  run('amtool', 'check-config', config);
  const routed = (...labels: string[]) =>
    run('amtool', 'config', 'routes', 'test', `--config.file=${config}`, ...labels).trim();
  assert.equal(routed('alertname=SuccessLow', 'severity=warning'), 'team');
  assert.equal(routed('alertname=NodeDown', 'severity=critical'), 'critical');
  assert.equal(routed('alertname=MemoryHigh', 'severity=warning', 'action=scale-out'), 'scale-out,team');
  assert.equal(routed('alertname=Any', 'severity=info'), 'journal');
});

/** Queries as tutorials for Kubernetes write them; each must give numbers here. */
const LINES = [
  'up{job="animegan"}',
  'sum(rate(http_requests_total[1m]))',
  'rate(http_requests_total{job="animegan"}[1m])',
  'sum(rate(http_requests_total{status=~"5.."}[1m])) / sum(rate(http_requests_total[1m]))',
  'sum(rate(http_requests_total{status="200"}[1m])) / sum(rate(http_requests_total[1m]))',
  'histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket[1m])) by (le))',
  'rate(http_request_duration_seconds_sum{route="/v1/images"}[1m]) / rate(http_request_duration_seconds_count{route="/v1/images"}[1m])',
  'container_memory_usage_bytes',
  'container_memory_usage_bytes{container="animegan"} / 1024 / 1024',
  'container_memory_usage_bytes / container_spec_memory_limit_bytes',
  'sum(container_memory_working_set_bytes{pod=~"animegan.*"}) by (pod)',
  'rate(container_cpu_usage_seconds_total[1m])',
  'sum(rate(container_cpu_usage_seconds_total{container="animegan"}[1m])) by (pod) * 100',
  'sum(rate(container_cpu_usage_seconds_total[1m])) by (pod) / sum(container_spec_cpu_quota / container_spec_cpu_period) by (pod)',
  'toonfleet:success:ratio_rate5m',
  'toonfleet:duration_seconds:p95_rate5m',
  'toonfleet:node_cpu:ratio_rate5m',
  'toonfleet:node_memory:ratio',
  'toonfleet:node_disk_free:ratio',
];

/** Starts a program that ends with its test. */
function start(
  context: TestContext,
  at: Site,
  program: string,
  args: readonly string[],
  env = at.env,
): () => string {
  const child: ChildProcess = spawn(program, args, { cwd: at.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  context.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
  });
  return () => output;
}

/** A double of WeCom's robot: it keeps what it is told and says that all is well. */
async function wecomDouble(context: TestContext) {
  const messages: string[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    messages.push((JSON.parse(body) as { markdown: { content: string } }).markdown.content);
    response.end('{"errcode":0,"errmsg":"ok"}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { messages, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/send` };
}

const answerSchema = z.object({
  status: z.literal('success'),
  data: z.object({
    result: z.array(
      z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) }),
    ),
  }),
});

/** How Prometheus is asked. */
function asking(port: number) {
  const base = `http://127.0.0.1:${port}`;
  return async (expr: string) => {
    try {
      const response = await fetch(`${base}/api/v1/query?query=${encodeURIComponent(expr)}`);
      // It reads its old records still.
      if (response.status === 503) return [];
      const { data } = answerSchema.parse(await response.json());
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    } catch (error) {
      // It is not up yet.
      if (error instanceof TypeError) return [];
      throw error;
    }
  };
}

/** A balancer with a node of its own and another node, in settings that know both. */
async function twoNodes(context: TestContext, env: Record<string, string>) {
  const one = { TOONFLEET_WORKER__COUNT: '1' };
  const second = await site(context, { ...one, TOONFLEET_NODE__NAME: 'test-node-2' });
  const bare = await site(context, { ...one, ...env });
  const nodes = [bare.agentUrl, second.agentUrl].map((agent) => ({ agent }));
  const first = { ...bare, env: { ...bare.env, TOONFLEET_NODES: JSON.stringify(nodes) } };
  const [cluster, other] = await Promise.all([
    startCluster(first),
    startCluster(second, { args: ['--role', 'node'] }),
  ]);
  return { cluster, other };
}

test('a real Prometheus reads two nodes, and the death of one reaches the chat and the hook', {
  skip,
}, async (context) => {
  const [prometheusPort = 0, alertmanagerPort = 0, relayPort = 0] = await freePorts(3);
  const wecom = await wecomDouble(context);
  const hookHome = await site(context);
  const hook = join(hookHome.cwd, 'scale-out');
  const ran = join(hookHome.cwd, 'ran');
  writeFileSync(hook, `#!/bin/sh\necho "$ALERT_NAME $ALERT_INSTANCES" >> ${ran}\n`, { mode: 0o755 });
  const { cluster, other } = await twoNodes(context, {
    ...RELAY,
    TOONFLEET_ALERTS__SCRAPE_INTERVAL: '1s',
    TOONFLEET_ALERTS__DOWN: '2s',
    TOONFLEET_ALERTS__ALERTMANAGER: `127.0.0.1:${alertmanagerPort}`,
    TOONFLEET_ALERTS__RELAY__PORT: String(relayPort),
    TOONFLEET_ALERTS__RELAY__WECOM_URL: wecom.url,
    TOONFLEET_ALERTS__RELAY__HOOK: JSON.stringify([hook]),
  });
  const folder = join(cluster.cwd, 'prometheus');
  const { code, output } = await toonfleet(cluster, 'prometheus', 'render', '--out', folder);
  assert.equal(code, 0, output);
  mkdirSync(join(cluster.cwd, 'am'));
  const relayLog = start(context, cluster, process.execPath, [
    join(PACKAGE_ROOT, 'ops/toonfleet.mjs'),
    'alert-relay',
  ]);
  const alertmanagerLog = start(context, cluster, 'prometheus-alertmanager', [
    `--config.file=${join(folder, 'alertmanager.yml')}`,
    `--storage.path=${join(cluster.cwd, 'am')}`,
    `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
    '--cluster.listen-address=',
  ]);
  const prometheusLog = start(context, cluster, 'prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(cluster.cwd, 'tsdb')}`,
    `--web.listen-address=127.0.0.1:${prometheusPort}`,
  ]);
  const ask = asking(prometheusPort);

  const load = await traffic(cluster.url, { kept: 2, fresh: 0 });
  context.after(() => load.end());
  for (const line of LINES) {
    let rows: Awaited<ReturnType<typeof ask>> = [];
    await until(
      async () => {
        rows = await ask(line);
        return rows.length > 0 && rows.some(({ value }) => Number.isFinite(value));
      },
      60_000,
      () => `${line} gives no number: ${JSON.stringify(rows)}\n${prometheusLog()}`,
    );
  }
  await load.end();
  assert.deepEqual(load.failures, []);
  const roles = (await ask('up{job="animegan"} == 1')).map(({ metric }) => metric.role).sort();
  assert.deepEqual(roles, ['balancer', 'node', 'node', 'relay']);
  assert.equal((await ask('container_memory_usage_bytes')).length, 2);
  assert.deepEqual(await ask('ALERTS{alertstate="firing"}'), []);

  for (const pid of other.pids()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with another one.
    }
  }
  const from = performance.now();
  const seen: number[] = [];
  for (const state of ['pending|firing', 'firing']) {
    const expr = `ALERTS{alertname="NodeDown",alertstate=~"${state}"}`;
    await until(
      async () => (await ask(expr)).length === 1,
      60_000,
      () => `NodeDown is not ${state}\n${prometheusLog()}`,
    );
    seen.push(performance.now() - from);
  }
  const told = () => wecom.messages.find((message) => message.includes('NodeDown'));
  await until(
    () => told() !== undefined,
    60_000,
    () => `nobody was told\n${alertmanagerLog()}\n${relayLog()}`,
  );
  seen.push(performance.now() - from);
  assert.ok(told()?.includes(other.agentUrl.replace('http://', '')), told());
  assert.match(relayLog(), /"alert firing"/);
  context.diagnostic(
    `a node's death (down: 2s, read each second): pending, firing, told after ${seen.map((ms) => `${Math.round(ms)} ms`).join(', ')}`,
  );

  run(
    'amtool',
    'alert',
    'add',
    `--alertmanager.url=http://127.0.0.1:${alertmanagerPort}`,
    'alertname=MemoryHigh',
    'severity=warning',
    'action=scale-out',
    'instance=vm-9:8001',
    '--annotation=summary=The memory of vm-9:8001 is nearly used up',
  );
  await until(
    () => existsSync(ran),
    60_000,
    () => `the hook was not run\n${alertmanagerLog()}\n${relayLog()}`,
  );
  assert.equal(readFileSync(ran, 'utf8'), 'MemoryHigh vm-9:8001\n');
});
