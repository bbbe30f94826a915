// What Prometheus computes and when it calls somebody, as data. Pure: limits in, rule groups out; written as YAML by others.
// Each alert has its section in docs/runbook.md and its trials in trials.ts.

import type { Settings } from '../../config/schema.ts';
import { formatDuration } from '../../config/units.ts';

/** The limits of the settings. Durations are ms, shares percent. */
export type AlertLimits = Omit<Settings['alerts'], 'relay' | 'balancers' | 'alertmanager'>;

/** Who has to know: at once and by short message, within the hour, or whoever looks. */
export const severities = ['critical', 'warning', 'info'] as const;
export type Severity = (typeof severities)[number];

/** A series that Prometheus computes from others. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A condition that somebody has to know of. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<{ severity: Severity; action?: 'scale-out' }>;
  readonly annotations: Readonly<{ summary: string; description: string; runbook_url: string }>;
}

/** Rules that are computed together, one after the other. */
export interface RuleGroup {
  readonly name: string;
  readonly interval?: string;
  readonly rules: readonly (RecordingRule | AlertRule)[];
}

/** All rules. */
export function ruleGroups(limits: AlertLimits): RuleGroup[] {
  return [
    {
      name: 'toonfleet-containers',
      interval: promDuration(limits.scrape_interval),
      rules: containers(limits),
    },
    { name: 'toonfleet-service', rules: serviceSeries() },
    { name: 'toonfleet-alerts', rules: alerts(limits) },
    { name: 'toonfleet-slo', rules: budgetAlerts(limits) },
  ];
}

export const isAlert = (rule: RecordingRule | AlertRule): rule is AlertRule => 'alert' in rule;

/** The heading of an alert's section in the runbook, as browsers name it. */
export const anchorOf = (alert: string) => alert.toLowerCase();

/** Ms as Prometheus reads them, which knows no fractions. */
export const promDuration = (ms: number) => (ms % 1000 === 0 ? formatDuration(ms) : `${Math.round(ms)}ms`);

/** Below so many requests in a window its ratios are anecdotes. */
const FEW_REQUESTS = 10;
const FEW_FOR_BUDGET = 100;
/** Longer than the pause after which autoscale tries again by default. */
const FAILED_LATELY_S = 900;

/** What a client cannot have done wrong: 4xx say what the client did, and health checks and pages are not the service. */
const ROUTES = 'route!~"site|/health|/ready|/live|/v2/health/.+|/v1/styles|/[.]well-known/.+"';
const VALID = `http_requests_total{${ROUTES},status!~"4.."}`;
const FAILED = `http_requests_total{${ROUTES},status=~"5.."}`;
const WINDOWS = ['5m', '30m', '1h', '6h', '3d'] as const;

/**
 * The names under which Kubernetes knows a pod's use of CPU and memory. A worker is what a container is there: one core,
 * and the memory at which it gives way.
 */
function containers({ job }: AlertLimits): RecordingRule[] {
  const labels = { container: job, image: 'toonfleet', namespace: 'default' };
  const ofPods = (expr: string) => `label_replace(${expr}, "pod", "${job}-$1", "worker", "(.+)")`;
  // The balancer exports its own memory by the same name, without a worker.
  const memory = ofPods('process_resident_memory_bytes{worker!=""}');
  const core = ofPods('toonfleet_worker_cpu_seconds * 0 + 100000');
  return [
    { record: 'container_cpu_usage_seconds_total', expr: ofPods('toonfleet_worker_cpu_seconds'), labels },
    { record: 'container_spec_cpu_period', expr: core, labels },
    { record: 'container_spec_cpu_quota', expr: core, labels },
    { record: 'container_memory_usage_bytes', expr: memory, labels },
    { record: 'container_memory_working_set_bytes', expr: memory, labels },
    { record: 'container_memory_rss', expr: memory, labels },
    {
      record: 'container_spec_memory_limit_bytes',
      expr: ofPods('toonfleet_worker_memory_limit_bytes'),
      labels,
    },
  ];
}

function serviceSeries(): RecordingRule[] {
  const duration = `http_request_duration_seconds_bucket{${ROUTES}}`;
  const perNode = (expr: string) => `sum by (instance) (${expr})`;
  return [
    ...WINDOWS.flatMap((window) => [
      { record: `toonfleet:requests:increase${window}`, expr: `sum(increase(${VALID}[${window}]))` },
      {
        record: `toonfleet:errors:ratio_rate${window}`,
        expr: `(sum(rate(${FAILED}[${window}])) or vector(0)) / sum(rate(${VALID}[${window}]))`,
      },
    ]),
    { record: 'toonfleet:success:ratio_rate5m', expr: '1 - toonfleet:errors:ratio_rate5m' },
    ...([50, 95, 99] as const).map((percent) => ({
      record: `toonfleet:duration_seconds:p${percent}_rate5m`,
      expr: `histogram_quantile(${percent / 100}, sum by (le) (rate(${duration}[5m])))`,
    })),
    {
      record: 'toonfleet:node_cpu:ratio_rate5m',
      expr: `${perNode('rate(toonfleet_node_cpu_seconds_total{mode="busy"}[5m])')} / ${perNode('rate(toonfleet_node_cpu_seconds_total[5m])')}`,
    },
    {
      record: 'toonfleet:node_memory:ratio',
      expr: `${perNode('toonfleet_node_memory_bytes{kind="used"}')} / ${perNode('toonfleet_node_memory_bytes{kind="total"}')}`,
    },
    {
      record: 'toonfleet:node_disk_free:ratio',
      expr: `${perNode('toonfleet_node_disk_bytes{kind="free"}')} / ${perNode('toonfleet_node_disk_bytes{kind="total"}')}`,
    },
  ];
}

interface AlertSketch {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly severity: Severity;
  readonly action?: 'scale-out';
  readonly summary: string;
  readonly description: string;
}

const percent = (share: number) => String(share / 100);

function alerts(limits: AlertLimits): AlertRule[] {
  const instance = '{{ $labels.instance }}';
  const measured = '{{ $value | humanizePercentage }}';
  const down = promDuration(limits.down);
  const sketches: AlertSketch[] = [
    {
      alert: 'SuccessLow',
      expr: `toonfleet:success:ratio_rate5m < ${percent(limits.success)} and toonfleet:requests:increase5m >= ${FEW_REQUESTS}`,
      for: '5m',
      severity: 'warning',
      summary: `Less than ${limits.success} % of pictures come out well`,
      description: `${measured} of the answers of the last 5 minutes were good.`,
    },
    {
      alert: 'LatencyHigh',
      expr: `toonfleet:duration_seconds:p95_rate5m > ${limits.p95 / 1000} and toonfleet:requests:increase5m >= ${FEW_REQUESTS}`,
      for: '5m',
      severity: 'warning',
      summary: `One in twenty answers takes longer than ${formatDuration(limits.p95)}`,
      description: 'The 95th percentile of the last 5 minutes is {{ $value | humanizeDuration }}.',
    },
    {
      alert: 'QueueLong',
      expr: `sum by (instance) (toonfleet_queue_length) > ${limits.queue}`,
      for: '5m',
      severity: 'warning',
      summary: `More than ${limits.queue} pictures wait at ${instance}`,
      description: '{{ $value }} pictures wait for a slot.',
    },
    {
      alert: 'EjectionsMany',
      expr: 'sum by (instance) (increase(toonfleet_ejections_total[10m])) > 3',
      for: '0s',
      severity: 'warning',
      summary: `${instance} takes workers out again and again`,
      description: '{{ $value | humanize }} times in 10 minutes a worker failed its checks or its pictures.',
    },
    {
      alert: 'UpstreamEjected',
      expr: 'count by (instance) (toonfleet_upstream_state{state="ejected"} == 1)',
      for: '5m',
      severity: 'warning',
      summary: `A worker does not come back at ${instance}`,
      description: '{{ $value }} workers have been out for 5 minutes.',
    },
    {
      alert: 'AllUpstreamsDown',
      expr: 'up{role="balancer"} == 1 unless on (instance) toonfleet_upstream_state{state="up"} == 1',
      for: '30s',
      severity: 'critical',
      summary: `${instance} has no worker that it can use`,
      description: 'Every picture is refused with 503 no_upstream.',
    },
    {
      alert: 'BalancerDown',
      expr: 'up{role="balancer"} == 0',
      for: down,
      severity: 'critical',
      summary: `The balancer ${instance} does not answer`,
      description: `Prometheus has not reached its admin port for ${down}.`,
    },
    {
      alert: 'NodeDown',
      // Who was parked sleeps on purpose.
      expr: 'up{role="node"} == 0 unless on (instance) label_replace(max by (agent) (toonfleet_autoscale_parked), "instance", "$1", "agent", "(.+)") == 1',
      for: down,
      severity: 'critical',
      summary: `The node ${instance} does not answer`,
      description: `Prometheus has not reached its agent for ${down}.`,
    },
    {
      alert: 'NodeWithoutWorkers',
      expr: 'up{role="node"} == 1 unless on (instance) toonfleet_workers{state="ready"} > 0',
      for: '2m',
      severity: 'warning',
      summary: `The node ${instance} has no worker that is ready`,
      description: 'Its agent answers, and nobody draws there.',
    },
    {
      alert: 'WorkersMissing',
      expr: 'toonfleet_scale_workers{kind="desired"} - on (instance) sum by (instance) (toonfleet_workers{state="ready"}) > 0',
      for: '5m',
      severity: 'warning',
      summary: `The node ${instance} has fewer workers than it should`,
      description: '{{ $value }} of its workers are not ready.',
    },
    {
      alert: 'WorkerCrashLoop',
      expr: 'increase(toonfleet_worker_crashes_total[10m]) > 2',
      for: '0s',
      severity: 'warning',
      summary: `Workers of ${instance} crash again and again`,
      description: '{{ $value | humanize }} workers died in 10 minutes without saying goodbye.',
    },
    {
      alert: 'CpuHigh',
      expr: `toonfleet:node_cpu:ratio_rate5m > ${percent(limits.cpu)}`,
      for: '10m',
      severity: 'warning',
      summary: `The CPU of ${instance} has no reserve`,
      description: `${measured} of all cores were busy for 10 minutes.`,
    },
    {
      alert: 'MemoryHigh',
      expr: `toonfleet:node_memory:ratio > ${percent(limits.memory)}`,
      for: '2m',
      severity: 'warning',
      action: 'scale-out',
      summary: `The memory of ${instance} is nearly used up`,
      description: `${measured} of its memory is in use.`,
    },
    {
      alert: 'DiskLow',
      expr: `toonfleet:node_disk_free:ratio < ${percent(limits.disk)}`,
      for: '5m',
      severity: 'warning',
      summary: `The disk of ${instance} is nearly full`,
      description: `${measured} of the file system of data_dir is free.`,
    },
    {
      alert: 'CertificateExpires',
      expr: `(toonfleet_certificate_expiry_timestamp_seconds > 0) - time() < ${limits.certificate / 1000}`,
      for: '10m',
      severity: 'warning',
      summary: `The certificate of ${instance} runs out`,
      description: 'It is good for {{ $value | humanizeDuration }} more.',
    },
    {
      alert: 'BackupOld',
      expr: `time() - toonfleet_backup_last_success_timestamp_seconds > ${limits.backup / 1000}`,
      for: '10m',
      severity: 'warning',
      summary: `The last backup of ${instance} is old`,
      description: 'It was made {{ $value | humanizeDuration }} ago.',
    },
    {
      alert: 'ReleasesDiffer',
      expr: 'count(count by (release) (toonfleet_node_info)) > 1',
      for: '30m',
      severity: 'warning',
      summary: 'The nodes run different releases',
      description: '{{ $value }} releases have run side by side for half an hour.',
    },
    {
      alert: 'AutoscaleFails',
      expr: `time() - max by (agent) (toonfleet_autoscale_failed_timestamp_seconds) < ${FAILED_LATELY_S}`,
      for: '0s',
      severity: 'warning',
      summary: 'The VM of {{ $labels.agent }} could not be parked or woken',
      description: 'autoscale tried {{ $value | humanizeDuration }} ago.',
    },
    {
      alert: 'RelayFails',
      expr: 'sum by (channel) (increase(toonfleet_relay_messages_total{end="failed"}[15m])) > 0',
      for: '0s',
      severity: 'critical',
      summary: 'Alerts do not get through by {{ $labels.channel }}',
      description: '{{ $value | humanize }} notices were given up in 15 minutes.',
    },
    {
      alert: 'RelayDown',
      expr: 'up{role="relay"} == 0',
      for: '5m',
      severity: 'critical',
      summary: `The alert relay ${instance} does not answer`,
      description:
        'Neither WeCom nor short messages get through; who sees this looks at Alertmanager itself.',
    },
  ];
  return sketches.map((sketch) => alertOf(sketch, limits));
}

/**
 * How fast the error budget of 30 days may burn: 14.4 times as fast as planned spends 2 % of it in an hour, 6 times 5 % in
 * six hours, and at 1 it is gone when the month is. The short window ends the alert soon after the cause is gone.
 */
const BURNS = [
  { alert: 'SloBurnsFast', factor: 14.4, long: '1h', short: '5m', severity: 'critical', spent: '2 %' },
  { alert: 'SloBurns', factor: 6, long: '6h', short: '30m', severity: 'critical', spent: '5 %' },
  { alert: 'SloBurnsSlowly', factor: 1, long: '3d', short: '6h', severity: 'warning', spent: '10 %' },
] as const;

function budgetAlerts(limits: AlertLimits): AlertRule[] {
  const budget = (100 - Number(limits.slo)) / 100;
  return BURNS.map(({ alert, factor, long, short, severity, spent }) => {
    const bound = Number((factor * budget).toPrecision(6));
    return alertOf(
      {
        alert,
        expr: [long, short]
          .map((window) => `toonfleet:errors:ratio_rate${window} > ${bound}`)
          .concat(`toonfleet:requests:increase${long} >= ${FEW_FOR_BUDGET}`)
          .join(' and '),
        for: '2m',
        severity,
        summary: `The error budget of ${limits.slo} % burns ${factor === 1 ? 'to its end' : `${factor} times too fast`}`,
        description: `{{ $value | humanizePercentage }} of the answers of ${long} failed: more than ${spent} of the budget of 30 days went into them.`,
      },
      limits,
    );
  });
}

function alertOf(sketch: AlertSketch, { runbook }: AlertLimits): AlertRule {
  const { alert, expr, severity, action, summary, description } = sketch;
  return {
    alert,
    expr,
    for: sketch.for,
    labels: { severity, ...(action === undefined ? {} : { action }) },
    annotations: { summary, description, runbook_url: `${runbook}#${anchorOf(alert)}` },
  };
}
