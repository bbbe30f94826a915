// Rows of panels as Grafana's dashboard JSON: ids, places on its grid of 24 columns, variables for data source, job and
// instance. Pure. Written for Grafana 9 and newer.

/** One question, and how its lines are called. */
export interface Query {
  /** PromQL, with `$job`, `$instance` and `$__rate_interval`. */
  readonly expr: string;
  readonly legend: string;
}

/** From which values on a panel is green, and from which red; yellow lies between. Either way round. */
export interface Limits {
  readonly good: number;
  readonly bad: number;
}

/** Grafana's names of units that are used here. */
export type Unit = 'reqps' | 'ops' | 'percentunit' | 's' | 'short' | 'bytes' | 'bool';

export interface Panel {
  readonly title: string;
  readonly kind: 'stat' | 'series' | 'table';
  readonly unit: Unit;
  readonly queries: readonly Query[];
  /** What it shows and what to make of it, behind the (i). */
  readonly about: string;
  readonly stacked?: boolean;
  readonly limits?: Limits;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const COLUMNS = 24;
const WIDTH = { stat: 6, series: 8, table: 8 } as const;
const HEIGHT = { stat: 4, series: 8, table: 8 } as const;
const SOURCE = { type: 'prometheus', uid: '$datasource' } as const;

/** The dashboard; `uid` is its name in addresses and must not change. */
export function grafanaDashboard(uid: string, title: string, rows: readonly Row[]): object {
  return {
    uid,
    title,
    tags: ['toonfleet'],
    schemaVersion: 38,
    version: 1,
    editable: true,
    graphTooltip: 1,
    timezone: 'browser',
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: { list: variables() },
    annotations: { list: [] },
    links: [],
    panels: placed(rows),
  };
}

function variables(): object[] {
  const ofSeries = (name: string, label: string, query: string) => ({
    name,
    label,
    type: 'query',
    datasource: SOURCE,
    query: { query, refId: name },
    refresh: 2,
    includeAll: true,
    allValue: '.*',
    multi: true,
    sort: 1,
    current: { selected: true, text: ['All'], value: ['$__all'] },
  });
  return [
    {
      name: 'datasource',
      label: 'Prometheus',
      type: 'datasource',
      query: 'prometheus',
      current: {},
      hide: 0,
    },
    ofSeries('job', 'Job', 'label_values(toonfleet_node_info, job)'),
    ofSeries('instance', 'Node', 'label_values(toonfleet_node_info{job=~"$job"}, instance)'),
  ];
}

/** Panels side by side until a line of the grid is full, each row below the one before. */
function placed(rows: readonly Row[]): object[] {
  const panels: object[] = [];
  let id = 1;
  let y = 0;
  for (const row of rows) {
    panels.push({
      id: id++,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      panels: [],
    });
    y += 1;
    let x = 0;
    let lineHeight = 0;
    for (const panel of row.panels) {
      const [w, h] = [WIDTH[panel.kind], HEIGHT[panel.kind]];
      if (x + w > COLUMNS) {
        x = 0;
        y += lineHeight;
        lineHeight = 0;
      }
      panels.push(panelJson(panel, id++, { x, y, w, h }));
      x += w;
      lineHeight = Math.max(lineHeight, h);
    }
    y += lineHeight;
  }
  return panels;
}

type GridPos = { readonly x: number; readonly y: number; readonly w: number; readonly h: number };

function panelJson(panel: Panel, id: number, gridPos: GridPos): object {
  const { title, about, kind, queries } = panel;
  return {
    id,
    type: { stat: 'stat', series: 'timeseries', table: 'table' }[kind],
    title,
    description: about,
    datasource: SOURCE,
    gridPos,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: SOURCE,
      expr,
      legendFormat: legend === '' ? '__auto' : legend,
      range: kind === 'series',
      instant: kind !== 'series',
      ...(kind === 'table' ? { format: 'table' } : {}),
    })),
    fieldConfig: { defaults: fieldDefaults(panel), overrides: [] },
    options: optionsOf(kind),
    ...(kind === 'table' ? { transformations: [onlyLabels(['instance', 'node', 'zone', 'release'])] } : {}),
  };
}

function fieldDefaults({ unit, kind, stacked, limits }: Panel): object {
  return {
    unit,
    ...(unit === 'percentunit' ? { max: 1 } : {}),
    ...(kind === 'series' && unit !== 'percentunit' ? { min: 0 } : {}),
    thresholds: thresholdsOf(limits),
    color: { mode: kind === 'stat' && limits ? 'thresholds' : 'palette-classic' },
    ...(kind === 'series'
      ? {
          custom: {
            lineWidth: 1,
            fillOpacity: stacked ? 30 : 5,
            showPoints: 'never',
            stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
            thresholdsStyle: { mode: limits ? 'dashed' : 'off' },
          },
        }
      : {}),
  };
}

function thresholdsOf(limits: Limits | undefined): object {
  if (limits === undefined) return { mode: 'absolute', steps: [{ color: 'green', value: null }] };
  const { good, bad } = limits;
  const steps =
    good > bad
      ? [
          { color: 'red', value: null },
          { color: 'yellow', value: bad },
          { color: 'green', value: good },
        ]
      : [
          { color: 'green', value: null },
          { color: 'yellow', value: good },
          { color: 'red', value: bad },
        ];
  return { mode: 'absolute', steps };
}

function optionsOf(kind: Panel['kind']): object {
  switch (kind) {
    case 'stat':
      return {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        colorMode: 'value',
        graphMode: 'none',
      };
    case 'series':
      return {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      };
    case 'table':
      return { showHeader: true };
  }
}

/** A table of labels: the value is always 1, and the time is now. */
const onlyLabels = (names: readonly string[]) => ({
  id: 'filterFieldsByName',
  options: { include: { names } },
});
