import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import type { Registry } from 'prom-client';
import { parse } from 'yaml';
import { loadSettings, SettingsError } from '../../config/load.ts';
import { agentMetrics, balancerMetrics, relayMetrics, workerMetrics } from '../process/metrics.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { alertmanagerConfig, prometheusConfig } from './prometheus.ts';
import { renderAll, renderPrometheus } from './render.ts';
import { anchorOf, isAlert, ruleGroups } from './rules.ts';
import { promtoolTests, TRIALS } from './trials.ts';

const settingsWith = (env: Record<string, string> = {}) => loadSettings({ cwd: '/srv', env });
const TOKEN = { TOONFLEET_ALERTS__RELAY__TOKEN: 'a token of the relay' };

const rules = ruleGroups(settingsWith().alerts).flatMap((group) => group.rules);
const alerts = rules.filter(isAlert);

/** Names of series in an expression, as Prometheus's own grammar finds them. */
function seriesIn(expr: string): string[] {
  const names: string[] = [];
  parser.parse(expr).iterate({
    enter({ name, from, to, node }) {
      assert.notEqual(name, '⚠', `not PromQL: ${expr}`);
      if (name === 'Identifier' && node.parent?.name === 'VectorSelector') names.push(expr.slice(from, to));
    },
  });
  return names;
}

async function exportedNames(): Promise<Set<string>> {
  const registries: Registry[] = [balancerMetrics(), workerMetrics(), agentMetrics(), relayMetrics()].map(
    ({ registry }) => registry,
  );
  const names = new Set(['up', ...rules.flatMap((rule) => (isAlert(rule) ? [] : [rule.record]))]);
  for (const registry of registries)
    for (const { name, type } of await registry.getMetricsAsJSON()) {
      names.add(name);
      if (String(type) === 'histogram')
        for (const part of ['bucket', 'sum', 'count']) names.add(`${name}_${part}`);
    }
  return names;
}

test('every series that a rule or a trial names is exported by one of our processes or computed by a rule', async () => {
  const names = await exportedNames();
  for (const rule of rules) {
    const used = seriesIn(rule.expr);
    assert.notEqual(used.length, 0, rule.expr);
    for (const name of used) assert.ok(names.has(name), `${name} in ${rule.expr}`);
  }
  for (const { fires, quiet } of TRIALS)
    for (const series of [...Object.keys(fires), ...Object.keys(quiet)])
      assert.ok(names.has(series.replace(/\{.*/, '')), series);
});

test('every alert has its trials, its severity, and a section of its own in the runbook', () => {
  assert.deepEqual(TRIALS.map(({ alert }) => alert).sort(), alerts.map(({ alert }) => alert).sort());
  const runbook = readFileSync(join(PACKAGE_ROOT, 'docs/runbook.md'), 'utf8');
  const sections = new Map(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((text) => [text.split('\n', 1)[0] ?? '', text]),
  );
  for (const { alert, annotations } of alerts) {
    assert.equal(annotations.runbook_url, `docs/runbook.md#${anchorOf(alert)}`);
    const section = sections.get(alert);
    assert.ok(section, `docs/runbook.md has no section ${alert}`);
    for (const part of ['**Means.**', '**Look.**', '**Do.**'])
      assert.ok(section.includes(part), `docs/runbook.md, ${alert}: ${part}`);
  }
});

test('the runbook names commands and series that exist, and its links lead somewhere', async () => {
  const runbook = readFileSync(join(PACKAGE_ROOT, 'docs/runbook.md'), 'utf8');
  const cli = readFileSync(join(PACKAGE_ROOT, 'ops/cli.ts'), 'utf8');
  const commands = [...runbook.matchAll(/npx\s+toonfleet\s+([a-z][a-z-]*)/g)].map(([, word = '']) => word);
  assert.ok(commands.length > 10);
  for (const command of commands) assert.ok(cli.includes(`case '${command}':`), `toonfleet ${command}`);
  const names = await exportedNames();
  const series = [...runbook.matchAll(/\b(?:toonfleet[_:]|http_|process_)[a-z0-9_:]+/g)].map(
    ([name]) => name,
  );
  for (const name of series) assert.ok(names.has(name), name);
  const headings = new Set([...runbook.matchAll(/^## (.+)$/gm)].map(([, name = '']) => anchorOf(name)));
  for (const [, anchor = ''] of runbook.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(headings.has(anchor), anchor);
});

test('the limits of the settings are the limits of the rules', () => {
  const { alerts: limits } = settingsWith({
    TOONFLEET_ALERTS__SUCCESS: '90',
    TOONFLEET_ALERTS__P95: '500ms',
    TOONFLEET_ALERTS__SLO: '99',
    TOONFLEET_ALERTS__DOWN: '1500ms',
    TOONFLEET_ALERTS__RUNBOOK: 'https://wiki.example.com/run',
  });
  const byName = new Map(
    ruleGroups(limits)
      .flatMap((group) => group.rules)
      .filter(isAlert)
      .map((rule) => [rule.alert, rule]),
  );
  assert.match(byName.get('SuccessLow')?.expr ?? '', /< 0\.9 and/);
  assert.match(byName.get('LatencyHigh')?.expr ?? '', /> 0\.5 and/);
  assert.match(byName.get('SloBurnsFast')?.expr ?? '', /1h > 0\.144 and .*5m > 0\.144 and/);
  assert.equal(byName.get('NodeDown')?.for, '1500ms');
  assert.equal(byName.get('NodeDown')?.annotations.runbook_url, 'https://wiki.example.com/run#nodedown');
});

test('Prometheus reads every balancer and node under one job name, with its role beside it', () => {
  const config = prometheusConfig(
    settingsWith({
      ...TOKEN,
      TOONFLEET_ALERTS__BALANCERS: '["10.0.0.10:8081"]',
    }),
    ['http://10.0.0.11:8001', 'http://[fd00::12]:8001'],
  );
  const { scrape_configs } = config as {
    scrape_configs: {
      static_configs: { targets: string[]; labels: { role: string } }[];
      relabel_configs: unknown;
    }[];
  };
  assert.deepEqual(
    scrape_configs.flatMap(({ static_configs }) =>
      static_configs.map(({ targets, labels }) => [labels.role, targets]),
    ),
    [
      ['balancer', ['10.0.0.10:8081']],
      ['node', ['10.0.0.11:8001', '[fd00::12]:8001']],
      ['relay', ['127.0.0.1:8083']],
    ],
  );
  for (const { relabel_configs } of scrape_configs)
    assert.deepEqual(relabel_configs, [{ target_label: 'job', replacement: 'animegan' }]);
});

/** The channels of each receiver. */
function receivers(env: Record<string, string>): Record<string, string[]> {
  const config = alertmanagerConfig(settingsWith({ ...TOKEN, ...env })) as {
    receivers: { name: string; webhook_configs: { url: string }[] }[];
  };
  return Object.fromEntries(
    config.receivers.map(({ name, webhook_configs }) => [
      name,
      webhook_configs.map(({ url }) => url.replace('http://127.0.0.1:8083/v1/alerts/', '')),
    ]),
  );
}

test('Alertmanager uses only channels that the relay has, and the log where there is none', () => {
  assert.deepEqual(receivers({}), {
    team: ['log'],
    critical: ['log'],
    'scale-out': ['log'],
    journal: ['log'],
  });
  assert.deepEqual(
    receivers({
      TOONFLEET_ALERTS__RELAY__WECOM_KEY: 'the-key-of-a-robot',
      TOONFLEET_ALERTS__RELAY__HOOK: '["/bin/true"]',
      TOONFLEET_ALERTS__RELAY__SMS__PROVIDER: 'http',
      TOONFLEET_ALERTS__RELAY__SMS__URL: 'http://127.0.0.1:1/sms',
      TOONFLEET_ALERTS__RELAY__SMS__PHONES: '["13800000000"]',
    }),
    {
      team: ['wecom'],
      critical: ['wecom', 'sms'],
      'scale-out': ['hook'],
      journal: ['log'],
    },
  );
});

test('a channel that could not work stops the start', () => {
  const faults = (env: Record<string, string>) => {
    try {
      settingsWith(env);
      return [];
    } catch (error) {
      assert.ok(error instanceof SettingsError);
      return error.faults.map((fault) => fault.split(':', 1)[0]);
    }
  };
  const sms = (provider: string) => faults({ TOONFLEET_ALERTS__RELAY__SMS__PROVIDER: provider });
  assert.deepEqual(sms('none'), []);
  assert.deepEqual(sms('http'), ['alerts.relay.sms.url', 'alerts.relay.sms.phones']);
  assert.equal(sms('aliyun').length, 5);
  assert.equal(sms('tencent').length, 6);
  assert.deepEqual(faults({ TOONFLEET_ALERTS__RELAY__HOOK: '["scale-out"]' }), ['alerts.relay.hook']);
});

test('rendered files are whole, and only the token is kept from other users', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const settings = settingsWith(TOKEN);
  assert.equal(await renderPrometheus(settings, folder), 0);
  for (const { name, text, secret } of renderAll(settings, ['http://127.0.0.1:8001'])) {
    assert.equal(readFileSync(join(folder, name), 'utf8'), text);
    assert.equal(statSync(join(folder, name)).mode & 0o777, secret ? 0o600 : 0o644, name);
    if (!secret) assert.doesNotMatch(text, /a token of the relay/);
    if (name.endsWith('.yml')) assert.equal(typeof parse(text), 'object');
  }
  assert.deepEqual(
    renderAll(settingsWith(), []).map(({ name }) => name),
    ['prometheus.yml', 'toonfleet.rules.yml'],
  );
  assert.ok(existsSync(join(folder, 'alertmanager.yml')));
});

test('promtool is given both worlds of every alert', () => {
  const { tests } = promtoolTests('x.yml') as { tests: unknown[] };
  assert.equal(tests.length, 2 * alerts.length + 1);
});
