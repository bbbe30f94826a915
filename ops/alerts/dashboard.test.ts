import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import { Histogram, type Registry } from 'prom-client';
import { parse } from 'yaml';
import { agentMetrics, balancerMetrics, workerMetrics } from '../process/metrics.ts';
import { ROWS } from './dashboard.ts';
import { grafanaDashboard } from './grafana.ts';

interface DashboardJson {
  readonly panels: readonly {
    readonly id: number;
    readonly type: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly datasource?: { readonly uid: string };
    readonly targets?: readonly { readonly datasource: { readonly uid: string }; readonly refId: string }[];
    readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
  }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
}
const dashboard = grafanaDashboard('toonfleet', 'toonfleet', ROWS) as DashboardJson;
const panels = ROWS.flatMap(({ panels: all }) => all);
const queries = panels.flatMap(({ title, queries: all }) =>
  all.map(({ expr, legend }) => ({ title, expr, legend })),
);

/** As Grafana would ask it. */
const asked = (expr: string) =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'animegan').replaceAll('$instance', '.*');

/** What a scrape adds to every series. */
const TARGET_LABELS = ['job', 'instance', 'role'];

/** Our series by the names that Prometheus knows them by, each with its labels. */
function exported(): Map<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const { registry } of [balancerMetrics(), workerMetrics(), agentMetrics()])
    for (const { name, type, labelNames } of described(registry)) {
      const all = [...(names.get(name) ?? []), ...labelNames, ...TARGET_LABELS];
      if (type === 'histogram') {
        names.set(`${name}_bucket`, [...all, 'le']);
        names.set(`${name}_sum`, all);
        names.set(`${name}_count`, all);
      } else names.set(name, all);
    }
  return names;
}

/** prom-client keeps a metric's kind and labels on it, and tells them only with its values. */
function described(registry: Registry): { name: string; type: string; labelNames: readonly string[] }[] {
  return registry.getMetricsAsArray().map((metric) => {
    const { labelNames = [] } = metric as { labelNames?: readonly string[] };
    return { name: metric.name, type: metric instanceof Histogram ? 'histogram' : 'other', labelNames };
  });
}

/** The nodes of a parsed query: their kinds and their words. */
function nodesOf(expr: string): { kind: string; text: string; above: string }[] {
  const nodes: { kind: string; text: string; above: string }[] = [];
  parser.parse(expr).iterate({
    enter: (node) => {
      nodes.push({
        kind: node.name,
        text: expr.slice(node.from, node.to),
        above: node.node.parent?.name ?? '',
      });
    },
  });
  return nodes;
}

test('a query that makes no sense is seen', () => {
  assert.ok(nodesOf('sum(rate(x[5m])').some(({ kind }) => kind === '⚠'));
  assert.ok(!nodesOf('sum(rate(x[5m]))').some(({ kind }) => kind === '⚠'));
});

for (const { title, expr } of queries)
  test(`"${title}" asks something that can be parsed, of series and labels that we export: ${expr.slice(0, 60)}`, () => {
    const known = exported();
    const nodes = nodesOf(asked(expr));
    assert.ok(!nodes.some(({ kind }) => kind === '⚠'), expr);
    const selectors = nodes.filter(({ kind }) => kind === 'VectorSelector');
    assert.ok(selectors.length > 0);
    const ofAll = new Set<string>();
    for (const { text } of selectors) {
      const [name = ''] = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(text) ?? [];
      const labels = known.get(name);
      assert.ok(labels, `${name} is not exported`);
      assert.match(text, /job=~/, `${name} is asked of every job of that Prometheus`);
      for (const [, label = ''] of text.matchAll(/[{,](\w+)(?:=|!=|=~|!~)"/g))
        assert.ok(labels.includes(label), `${name} has no label ${label}`);
      for (const label of labels) ofAll.add(label);
    }
    for (const { text } of nodes.filter(
      ({ kind, above }) => kind === 'LabelName' && above === 'GroupingLabels',
    ))
      assert.ok(ofAll.has(text), `grouped by ${text}, which no series has`);
  });

test('a legend speaks only of labels that are left by its query', () => {
  for (const { title, expr, legend } of queries)
    for (const [, label = ''] of legend.matchAll(/\{\{(\w+)\}\}/g)) {
      const groups = nodesOf(asked(expr)).filter(
        ({ kind, above }) => kind === 'LabelName' && above === 'GroupingLabels',
      );
      if (groups.length > 0)
        assert.ok(
          groups.some(({ text }) => text === label),
          `${title}: ${label}`,
        );
    }
});

const promtool = spawnSync('promtool', ['--version']).status === 0;
test("Prometheus's own parser takes every query", {
  skip: !promtool && 'promtool is not installed here',
}, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dashboard-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'queries.yml');
  const rules = queries.map(({ expr }, index) => ({ record: `q${index}`, expr: asked(expr) }));
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  const checked = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  assert.match(checked.stdout, new RegExp(`${queries.length} rules found`));
});

test('every panel has an id, a source that can be chosen, a unit and a word on what it is', () => {
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
    assert.equal(panel.datasource?.uid, '$datasource');
    for (const target of panel.targets ?? []) assert.equal(target.datasource.uid, '$datasource');
    assert.ok(panel.fieldConfig?.defaults.unit);
    const refs = panel.targets?.map(({ refId }) => refId) ?? [];
    assert.equal(new Set(refs).size, refs.length);
  }
  for (const { about } of panels) assert.match(about, /^[A-Z].*\.$/);
  assert.deepEqual(
    dashboard.templating.list.map(({ name, type }) => `${name} ${type}`),
    ['datasource datasource', 'job query', 'instance query'],
  );
});

test('no panel lies over another or beyond the edge', () => {
  const places = dashboard.panels.map(({ gridPos }) => gridPos);
  for (const [index, a] of places.entries()) {
    assert.ok(a.x >= 0 && a.x + a.w <= 24);
    for (const b of places.slice(index + 1))
      assert.ok(
        a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y,
        `${JSON.stringify(a)} ${JSON.stringify(b)}`,
      );
  }
});

test("Grafana's provisioning finds the dashboard's folder and a Prometheus", () => {
  const read = (name: string) =>
    parse(readFileSync(new URL(`./dashboards/${name}`, import.meta.url), 'utf8'));
  const [provider] = read('provisioning.yml').providers;
  assert.equal(provider.type, 'file');
  assert.ok(provider.options.path.startsWith('/'));
  const [source] = read('datasource.yml').datasources;
  assert.equal(source.type, 'prometheus');
  assert.ok(URL.canParse(source.url));
});
