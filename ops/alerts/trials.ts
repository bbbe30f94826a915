// Each alert in two worlds for promtool: one in which it must fire, and one, as near to it as can be, in which it must not.
// Pure: the default limits are assumed; written as YAML by docs/generate.ts, run by ops/e2e/watch.test.ts.

/** Series by their names, a value each minute in promtool's notation. */
export type World = Readonly<Record<string, string>>;

/** What must be so after some minutes. */
export interface Trial {
  readonly alert: string;
  readonly fires: World;
  /** Minutes from the start. */
  readonly after: number;
  readonly quiet: World;
}

const requests = (status: string) =>
  `http_requests_total{route="/v1/images",status="${status}",instance="lb:8081"}`;
const bucket = (le: string) =>
  `http_request_duration_seconds_bucket{route="/v1/images",le="${le}",instance="lb:8081"}`;
const up = (role: string) => `up{role="${role}",instance="x:1"}`;
/** So much of a hundred of what a node has. */
const ofTotal = (series: string, kind: string, percent: number): World => ({
  [`${series}{kind="${kind}",instance="vm:8001"}`]: stays(percent, 20),
  [`${series}{kind="total",instance="vm:8001"}`]: stays(100, 20),
});
const state = (of: string) =>
  `toonfleet_upstream_state{state="${of}",upstream="http://vm:8100",instance="x:1"}`;
const info = (instance: string, release: string) =>
  `toonfleet_node_info{node="${instance}",release="${release}",instance="${instance}"}`;

const parked = (agent: string) => `toonfleet_autoscale_parked{agent="${agent}",instance="lb:8081"}`;
const notMoved = (agent: string) =>
  `toonfleet_autoscale_failed_timestamp_seconds{agent="${agent}",instance="lb:8081"}`;

/** So many a minute, for so long. */
const grows = (perMinute: number, minutes: number) => `0+${perMinute}x${minutes}`;
const stays = (value: number, minutes: number) => `${value}x${minutes}`;

const burns = (good: number, bad: number, minutes: number): World => ({
  [requests('200')]: grows(good, minutes),
  [requests('503')]: grows(bad, minutes),
});

/** promtool's clock begins in 1970, so a time stamp of ours is a number of seconds from its start. */
const DAY_S = 86_400;

export const TRIALS: readonly Trial[] = [
  {
    alert: 'SuccessLow',
    fires: burns(90, 10, 20),
    after: 15,
    // 4xx are the client's own, and the checks of a balancer without workers are not pictures.
    quiet: {
      ...burns(96, 4, 20),
      [requests('422')]: grows(500, 20),
      'http_requests_total{route="/ready",status="503",instance="lb:8081"}': grows(500, 20),
    },
  },
  {
    alert: 'LatencyHigh',
    fires: {
      ...burns(100, 0, 20),
      [bucket('2')]: grows(90, 20),
      [bucket('3')]: grows(100, 20),
      [bucket('+Inf')]: grows(100, 20),
    },
    after: 15,
    quiet: {
      ...burns(100, 0, 20),
      [bucket('2')]: grows(96, 20),
      [bucket('3')]: grows(100, 20),
      [bucket('+Inf')]: grows(100, 20),
    },
  },
  {
    alert: 'QueueLong',
    fires: {
      'toonfleet_queue_length{class="interactive",instance="x:1"}': stays(30, 20),
      'toonfleet_queue_length{class="batch",instance="x:1"}': stays(30, 20),
    },
    after: 10,
    // Two balancers with forty each.
    quiet: {
      'toonfleet_queue_length{class="interactive",instance="x:1"}': stays(40, 20),
      'toonfleet_queue_length{class="interactive",instance="y:1"}': stays(40, 20),
    },
  },
  {
    alert: 'EjectionsMany',
    fires: { 'toonfleet_ejections_total{reason="check",instance="x:1"}': grows(1, 20) },
    after: 15,
    quiet: { 'toonfleet_ejections_total{reason="check",instance="x:1"}': '0x9 2x10' },
  },
  {
    alert: 'UpstreamEjected',
    fires: { [state('ejected')]: stays(1, 20), [state('up')]: stays(0, 20) },
    after: 10,
    // Out for four minutes, and back.
    quiet: { [state('ejected')]: '0x4 1x4 0x10', [state('up')]: '1x4 0x4 1x10' },
  },
  {
    alert: 'AllUpstreamsDown',
    fires: { [up('balancer')]: stays(1, 20), [state('up')]: stays(0, 20), [state('ejected')]: stays(1, 20) },
    after: 5,
    quiet: {
      [up('balancer')]: stays(1, 20),
      [state('up')]: stays(0, 20),
      'toonfleet_upstream_state{state="up",upstream="http://vm-2:8100",instance="x:1"}': stays(1, 20),
    },
  },
  {
    alert: 'BalancerDown',
    fires: { [up('balancer')]: '1x5 0x10' },
    after: 8,
    quiet: { [up('balancer')]: '1x5 0 1x10', [up('node')]: stays(0, 20) },
  },
  {
    alert: 'NodeDown',
    fires: { [up('node')]: '1x5 0x10', [parked('y:1')]: stays(1, 20) },
    after: 8,
    // Back within the minute; and one that was parked.
    quiet: {
      [up('node')]: '1x5 0 1x10',
      [up('balancer')]: stays(0, 20),
      'up{role="node",instance="y:1"}': '1x5 0x10',
      [parked('y:1')]: stays(1, 20),
    },
  },
  {
    alert: 'NodeWithoutWorkers',
    fires: { [up('node')]: stays(1, 20), 'toonfleet_workers{state="loading",instance="x:1"}': stays(1, 20) },
    after: 10,
    quiet: { [up('node')]: stays(1, 20), 'toonfleet_workers{state="ready",instance="x:1"}': stays(1, 20) },
  },
  {
    alert: 'WorkersMissing',
    fires: {
      'toonfleet_scale_workers{kind="desired",instance="x:1"}': stays(2, 20),
      'toonfleet_workers{state="ready",instance="x:1"}': '2x5 1x14',
    },
    after: 15,
    // Three minutes of a reload; and a node that has fewer because it should.
    quiet: {
      'toonfleet_scale_workers{kind="desired",instance="x:1"}': stays(2, 20),
      'toonfleet_workers{state="ready",instance="x:1"}': '2x8 1x3 2x10',
      'toonfleet_scale_workers{kind="desired",instance="y:1"}': stays(1, 20),
      'toonfleet_scale_workers{kind="max",instance="y:1"}': stays(2, 20),
      'toonfleet_workers{state="ready",instance="y:1"}': stays(1, 20),
    },
  },
  {
    alert: 'WorkerCrashLoop',
    fires: { 'toonfleet_worker_crashes_total{instance="x:1"}': grows(1, 20) },
    after: 15,
    quiet: { 'toonfleet_worker_crashes_total{instance="x:1"}': '0x9 1x10' },
  },
  {
    alert: 'CpuHigh',
    fires: {
      'toonfleet_node_cpu_seconds_total{mode="busy",instance="vm:8001"}': grows(110, 30),
      'toonfleet_node_cpu_seconds_total{mode="idle",instance="vm:8001"}': grows(10, 30),
    },
    after: 25,
    // Busy for eight minutes only.
    quiet: {
      'toonfleet_node_cpu_seconds_total{mode="busy",instance="vm:8001"}': '0+0x14 0+115x8 920+0x10',
      'toonfleet_node_cpu_seconds_total{mode="idle",instance="vm:8001"}': '0+120x14 1680+5x8 1720+120x10',
    },
  },
  {
    alert: 'MemoryHigh',
    fires: ofTotal('toonfleet_node_memory_bytes', 'used', 91),
    after: 5,
    quiet: ofTotal('toonfleet_node_memory_bytes', 'used', 89),
  },
  {
    alert: 'DiskLow',
    fires: ofTotal('toonfleet_node_disk_bytes', 'free', 9),
    after: 10,
    quiet: ofTotal('toonfleet_node_disk_bytes', 'free', 11),
  },
  {
    alert: 'CertificateExpires',
    fires: { 'toonfleet_certificate_expiry_timestamp_seconds{instance="x:1"}': stays(13 * DAY_S, 30) },
    after: 20,
    // Good for fifteen days; and a balancer without TLS.
    quiet: {
      'toonfleet_certificate_expiry_timestamp_seconds{instance="x:1"}': stays(15 * DAY_S, 30),
      'toonfleet_certificate_expiry_timestamp_seconds{instance="y:1"}': stays(0, 30),
    },
  },
  {
    alert: 'BackupOld',
    fires: { 'toonfleet_backup_last_success_timestamp_seconds{instance="x:1"}': stays(-2 * DAY_S, 30) },
    after: 20,
    quiet: { 'toonfleet_backup_last_success_timestamp_seconds{instance="x:1"}': stays(-DAY_S, 30) },
  },
  {
    alert: 'ReleasesDiffer',
    fires: { [info('a', '1.4.0')]: stays(1, 60), [info('b', '1.5.0')]: stays(1, 60) },
    after: 45,
    // A rollout of twenty minutes.
    quiet: {
      [info('a', '1.5.0')]: stays(1, 60),
      [info('b', '1.4.0')]: '1x20 _x40',
      [info('b', '1.5.0')]: '_x21 1x39',
    },
  },
  {
    alert: 'SloBurnsFast',
    fires: burns(98, 2, 90),
    after: 75,
    // At its plan; and a burst that is over.
    quiet: { [requests('200')]: grows(999, 90), [requests('503')]: '0+100x30 3000+0x60' },
  },
  {
    alert: 'SloBurns',
    fires: burns(992, 8, 90),
    after: 75,
    quiet: burns(996, 4, 90),
  },
  {
    alert: 'SloBurnsSlowly',
    fires: burns(998, 2, 90),
    after: 75,
    quiet: burns(9995, 5, 90),
  },
  {
    alert: 'AutoscaleFails',
    fires: { [notMoved('x:1')]: stays(0, 20) },
    after: 10,
    // Twenty minutes ago.
    quiet: { [notMoved('x:1')]: stays(-600, 20) },
  },
  {
    alert: 'RelayFails',
    fires: { 'toonfleet_relay_messages_total{channel="wecom",end="failed",instance="x:1"}': '0x5 1x10' },
    after: 10,
    quiet: { 'toonfleet_relay_messages_total{channel="wecom",end="sent",instance="x:1"}': '0x5 9x10' },
  },
  {
    alert: 'RelayDown',
    fires: { [up('relay')]: '1x5 0x15' },
    after: 15,
    quiet: { [up('relay')]: '1x5 0x4 1x10' },
  },
];

/** What computed series must be in a world; the names of the articles first. */
const WORKER = 'worker="vm-1-77",instance="vm:8001"';
const SERIES_WORLD: World = {
  [`toonfleet_worker_cpu_seconds{${WORKER}}`]: grows(30, 10),
  [`process_resident_memory_bytes{${WORKER}}`]: stays(300, 10),
  'process_resident_memory_bytes{instance="lb:8081"}': stays(90, 10),
  [`toonfleet_worker_memory_limit_bytes{${WORKER}}`]: stays(2000, 10),
};
const EXPECTED: readonly (readonly [expr: string, value: number])[] = [
  ['sum(rate(container_cpu_usage_seconds_total{container="animegan"}[5m]))', 0.5],
  ['sum(container_memory_usage_bytes{pod="animegan-vm-1-77"})', 300],
  ['sum(container_memory_usage_bytes)', 300],
  ['sum(container_memory_working_set_bytes / container_spec_memory_limit_bytes)', 0.15],
  ['sum(container_memory_rss)', 300],
  ['sum(container_spec_cpu_quota / container_spec_cpu_period)', 1],
];

/** The trials as promtool reads them. */
export function promtoolTests(rulesFile: string): object {
  const world = (series: World) => Object.entries(series).map(([name, values]) => ({ series: name, values }));
  const fired = (alert: string) => `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`;
  const test = (
    name: string,
    series: World,
    minutes: number,
    expected: readonly (readonly [string, number])[],
  ) => ({
    name,
    interval: '1m',
    input_series: world(series),
    promql_expr_test: expected.map(([expr, value]) => ({
      expr,
      eval_time: `${minutes}m`,
      exp_samples: [{ labels: '{}', value }],
    })),
  });
  return {
    rule_files: [rulesFile],
    evaluation_interval: '1m',
    tests: [
      ...TRIALS.flatMap(({ alert, fires, quiet, after }) => [
        test(`${alert} fires`, fires, after, [[fired(alert), 1]]),
        test(`${alert} does not fire`, quiet, after, [[fired(alert), 0]]),
      ]),
      test('the names of the articles', SERIES_WORLD, 8, EXPECTED),
    ],
  };
}
