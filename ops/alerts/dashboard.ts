// What the dashboard shows: rows of panels, each a question to Prometheus, from what users feel down to releases. Pure; how
// Grafana writes such a thing is in grafana.ts. Raw series only, so that it works without the recording rules too.

import type { Panel, Row } from './grafana.ts';

/** What a client cannot have done wrong, as in rules.ts: pictures, jobs and results, without 4xx. */
const ROUTES = 'route!~"site|/health|/ready|/live|/v2/health/.+|/v1/styles|/[.]well-known/.+"';
const OURS = 'job=~"$job"';
const PICTURES = `http_requests_total{${OURS},${ROUTES}}`;
const VALID = `http_requests_total{${OURS},${ROUTES},status!~"4.."}`;
const FAILED = `http_requests_total{${OURS},${ROUTES},status=~"5.."}`;
const ON_NODE = `${OURS},instance=~"$instance"`;

const rate = (series: string) => `rate(${series}[$__rate_interval])`;
const sumBy = (label: string, series: string) => `sum by (${label}) (${rate(series)})`;
const quantile = (q: number, histogram: string, by = 'le') =>
  `histogram_quantile(${q}, sum by (${by}) (${rate(histogram)}))`;
const DURATION = `http_request_duration_seconds_bucket{${OURS},${ROUTES}}`;
const WAIT = `toonfleet_queue_wait_seconds_bucket{${OURS}}`;
/** 1 while nothing fails, and also while nobody asks. */
const SUCCESS = `1 - ((sum(${rate(FAILED)}) or vector(0)) / clamp_min(sum(${rate(VALID)}), 1e-9))`;

/** One kind's part of the total, on each node. */
const partOfTotal = (series: string, kind: string) => {
  const sum = (each: string) => `sum by (instance) (${series}{${ON_NODE},kind="${each}"})`;
  return `${sum(kind)} / ${sum('total')}`;
};

const one = (expr: string, legend = '') => [{ expr, legend }];
const quantiles = (histogram: string) => [
  { expr: quantile(0.5, histogram), legend: 'p50' },
  { expr: quantile(0.95, histogram), legend: 'p95' },
  { expr: quantile(0.99, histogram), legend: 'p99' },
];

const USERS: readonly Panel[] = [
  {
    title: 'Pictures a second',
    kind: 'stat',
    unit: 'reqps',
    queries: one(`sum(${rate(PICTURES)})`),
    about: 'Requests for pictures, jobs and results, all balancers.',
  },
  {
    title: 'Success',
    kind: 'stat',
    unit: 'percentunit',
    queries: one(SUCCESS),
    about: 'Answers that were not our fault; 4xx count neither way.',
    limits: { good: 0.999, bad: 0.95 },
  },
  {
    title: 'P95',
    kind: 'stat',
    unit: 's',
    queries: one(quantile(0.95, DURATION)),
    about: 'Nineteen of twenty clients wait no longer.',
    limits: { good: 2, bad: 3 },
  },
  {
    title: 'Waiting',
    kind: 'stat',
    unit: 'short',
    queries: one(`sum(toonfleet_queue_length{${OURS}})`),
    about: 'Pictures that wait for a slot now.',
    limits: { good: 50, bad: 500 },
  },
  {
    title: 'Answers by status',
    kind: 'series',
    unit: 'reqps',
    stacked: true,
    queries: one(sumBy('status', PICTURES), '{{status}}'),
    about: 'Status 503 is shed load, 429 a limit of a client, 5xx else our fault.',
  },
  {
    title: 'How long clients wait',
    kind: 'series',
    unit: 's',
    queries: quantiles(DURATION),
    about: 'From the first byte of a request to the last of its answer.',
  },
  {
    title: 'Success over time',
    kind: 'series',
    unit: 'percentunit',
    queries: one(SUCCESS, 'success'),
    about: 'The alert SuccessLow comes at 95 % for five minutes.',
    limits: { good: 0.999, bad: 0.95 },
  },
  {
    title: 'Shed',
    kind: 'series',
    unit: 'reqps',
    stacked: true,
    queries: one(sumBy('reason', `toonfleet_shed_total{${OURS}}`), '{{reason}}'),
    about: 'Requests refused or dropped for load or by limits.',
  },
];

const QUEUE: readonly Panel[] = [
  {
    title: 'Queue',
    kind: 'series',
    unit: 'short',
    stacked: true,
    queries: one(`sum by (class) (toonfleet_queue_length{${OURS}})`, '{{class}}'),
    about: 'Live users are served before batch.',
  },
  {
    title: 'Wait for a slot',
    kind: 'series',
    unit: 's',
    queries: quantiles(WAIT),
    about: 'How long pictures waited in the queue.',
  },
  {
    title: 'Slots',
    kind: 'series',
    unit: 'short',
    stacked: true,
    queries: one(`sum by (state) (toonfleet_slots{${OURS}})`, '{{state}}'),
    about: 'All busy for long: more nodes are needed. Away: ejected, drained or gone.',
  },
  {
    title: 'Slots in use by node',
    kind: 'series',
    unit: 'percentunit',
    queries: one(
      `sum by (node) (toonfleet_slots{${OURS},state="busy"}) / clamp_min(sum by (node) (toonfleet_slots{${OURS}}), 1)`,
      '{{node}}',
    ),
    about: 'Nodes of one kind should be alike.',
  },
  {
    title: 'Tried again',
    kind: 'series',
    unit: 'ops',
    stacked: true,
    queries: one(sumBy('reason', `toonfleet_retries_total{${OURS}}`), '{{reason}}'),
    about: 'Attempts on another worker, by why the one before gave no answer.',
  },
  {
    title: 'Paused',
    kind: 'series',
    unit: 'bool',
    queries: one(`max by (instance) (toonfleet_paused{${OURS}})`, '{{instance}}'),
    about: 'Yes while an operator holds all pictures in the queue.',
  },
];

const NODES: readonly Panel[] = [
  {
    title: 'CPU',
    kind: 'series',
    unit: 'percentunit',
    queries: one(
      `sum by (instance) (${rate(`toonfleet_node_cpu_seconds_total{${ON_NODE},mode="busy"}`)}) / sum by (instance) (${rate(`toonfleet_node_cpu_seconds_total{${ON_NODE}}`)})`,
      '{{instance}}',
    ),
    about: 'All cores of each VM.',
    limits: { good: 0.85, bad: 0.95 },
  },
  {
    title: 'Memory',
    kind: 'series',
    unit: 'percentunit',
    queries: one(partOfTotal('toonfleet_node_memory_bytes', 'used'), '{{instance}}'),
    about: 'What a new program could not have; the alert comes at 90 %.',
    limits: { good: 0.8, bad: 0.9 },
  },
  {
    title: 'Disk free',
    kind: 'series',
    unit: 'percentunit',
    queries: one(partOfTotal('toonfleet_node_disk_bytes', 'free'), '{{instance}}'),
    about: 'The file system of data_dir.',
    limits: { good: 0.2, bad: 0.1 },
  },
  {
    title: 'Workers',
    kind: 'series',
    unit: 'short',
    stacked: true,
    queries: one(`sum by (state) (toonfleet_workers{${ON_NODE}})`, '{{state}}'),
    about: 'By state, as the agents count them.',
  },
  {
    title: 'Memory of workers',
    kind: 'series',
    unit: 'bytes',
    queries: one(`process_resident_memory_bytes{${ON_NODE},worker!=""}`, '{{worker}}'),
    about: 'Flat over thousands of pictures; one that grows leaves at worker.max_memory.',
  },
  {
    title: 'Workers behind their timers',
    kind: 'series',
    unit: 's',
    queries: one(`max by (instance) (nodejs_eventloop_lag_seconds{${ON_NODE},worker!=""})`, '{{instance}}'),
    about: 'The worst worker of each node.',
  },
  {
    title: 'Ejections',
    kind: 'series',
    unit: 'ops',
    stacked: true,
    queries: one(sumBy('reason', `toonfleet_ejections_total{${OURS}}`), '{{reason}}'),
    about: 'Workers that balancers took out for their health.',
  },
  {
    title: 'Workers as balancers see them',
    kind: 'series',
    unit: 'short',
    stacked: true,
    queries: one(`sum by (state) (toonfleet_upstream_state{${OURS}})`, '{{state}}'),
    about: 'Summed over balancers: with two of them each worker counts twice.',
  },
  {
    title: 'Crashes',
    kind: 'series',
    unit: 'short',
    queries: one(
      `sum by (instance) (increase(toonfleet_worker_crashes_total{${ON_NODE}}[10m]))`,
      '{{instance}}',
    ),
    about: 'Workers that ended without saying goodbye, in ten minutes.',
  },
];

const STAGE = `toonfleet_stage_duration_seconds_bucket{${ON_NODE}}`;
const STAGES: readonly Panel[] = [
  {
    title: 'Stages, P95',
    kind: 'series',
    unit: 's',
    queries: one(quantile(0.95, STAGE, 'le, stage'), '{{stage}}'),
    about: 'Decoding, inference and encoding of one picture.',
  },
  {
    title: 'Where the time goes',
    kind: 'series',
    unit: 's',
    stacked: true,
    queries: one(
      `${sumBy('stage', `toonfleet_stage_duration_seconds_sum{${ON_NODE}}`)} / ${sumBy('stage', `toonfleet_stage_duration_seconds_count{${ON_NODE}}`)}`,
      '{{stage}}',
    ),
    about: 'Means, stacked: what one picture costs.',
  },
  {
    title: 'Pictures by node',
    kind: 'series',
    unit: 'reqps',
    stacked: true,
    queries: one(
      `sum by (instance) (${rate(`toonfleet_worker_requests_total{${ON_NODE},status=~"2.."}`)})`,
      '{{instance}}',
    ),
    about: 'What the workers drew.',
  },
];

const CACHE: readonly Panel[] = [
  {
    title: 'Response cache',
    kind: 'series',
    unit: 'reqps',
    stacked: true,
    queries: one(sumBy('result', `toonfleet_cache_requests_total{${OURS}}`), '{{result}}'),
    about: 'Nothing where balancer.cache is off.',
  },
  {
    title: 'Hits',
    kind: 'series',
    unit: 'percentunit',
    queries: one(
      `sum(${rate(`toonfleet_cache_requests_total{${OURS},result="hit"}`)}) / sum(${rate(`toonfleet_cache_requests_total{${OURS}}`)})`,
      'hits',
    ),
    about: 'Pictures that needed no slot.',
  },
  {
    title: 'Memory of the cache',
    kind: 'series',
    unit: 'bytes',
    queries: one(`sum by (instance) (toonfleet_cache_bytes{${OURS}})`, '{{instance}}'),
    about: 'Kept pictures of each balancer.',
  },
  {
    title: 'Shared cache',
    kind: 'series',
    unit: 'ops',
    stacked: true,
    queries: one(sumBy('op, result', `toonfleet_cache_store_total{${OURS}}`), '{{op}} {{result}}'),
    about: 'Questions to Redis and how they ended.',
  },
];

const BY_CLIENT = 'client_rate|client_concurrency|key_rate|key_concurrency|total_rate|total_concurrency';
const LIMITS: readonly Panel[] = [
  {
    title: 'Limits of clients',
    kind: 'series',
    unit: 'reqps',
    stacked: true,
    queries: one(sumBy('reason', `toonfleet_shed_total{${OURS},reason=~"${BY_CLIENT}"}`), '{{reason}}'),
    about: 'Refused with 429: the client, its key or all together sent more than they may.',
  },
  {
    title: 'Addresses remembered',
    kind: 'series',
    unit: 'short',
    queries: one(`max by (instance) (toonfleet_limited_clients{${OURS}})`, '{{instance}}'),
    about: 'At rate_limit.clients newcomers share the limits of their network.',
  },
];

const RELEASES: readonly Panel[] = [
  {
    title: 'What runs where',
    kind: 'table',
    unit: 'short',
    queries: one(`toonfleet_node_info{${OURS}}`),
    about: 'Node, zone and release of each agent.',
  },
  {
    title: 'Traffic by weight',
    kind: 'series',
    unit: 'percentunit',
    stacked: true,
    queries: one(
      `sum by (release) (toonfleet_traffic_weight{${OURS}}) / scalar(sum(toonfleet_traffic_weight{${OURS}}))`,
      '{{release}}',
    ),
    about: 'Nothing while traffic is not divided.',
  },
  {
    title: 'Failed attempts by release',
    kind: 'series',
    unit: 'percentunit',
    queries: one(
      `${sumBy('release', `toonfleet_release_attempts_total{${OURS},end="fault"}`)} / ${sumBy('release', `toonfleet_release_attempts_total{${OURS}}`)}`,
      '{{release}}',
    ),
    about: 'Attempts, not answers: what failed here was drawn elsewhere.',
  },
  {
    title: 'Rollbacks',
    kind: 'stat',
    unit: 'short',
    queries: one(`sum(increase(toonfleet_rollbacks_total{${OURS}}[1d])) or vector(0)`),
    about: 'Canaries that went by themselves within a day.',
    limits: { good: 1, bad: 2 },
  },
  {
    title: 'Certificate',
    kind: 'stat',
    unit: 's',
    queries: one(`min(toonfleet_certificate_expiry_timestamp_seconds{${OURS}} > 0) - time()`),
    about: 'Time until it expires; nothing without TLS.',
    limits: { good: 14 * 86_400, bad: 3 * 86_400 },
  },
  {
    title: 'Oldest backup',
    kind: 'stat',
    unit: 's',
    queries: one(`time() - min(toonfleet_backup_last_success_timestamp_seconds{${OURS}})`),
    about: 'Of all machines that have one.',
    limits: { good: 36 * 3_600, bad: 72 * 3_600 },
  },
];

/** The whole, from the top. */
export const ROWS: readonly Row[] = [
  { title: 'What users feel', panels: USERS },
  { title: 'Queue and slots', panels: QUEUE },
  { title: 'Nodes', panels: NODES },
  { title: 'Stages of a picture', panels: STAGES },
  { title: 'Cache', panels: CACHE },
  { title: 'Limits', panels: LIMITS },
  { title: 'Releases', panels: RELEASES },
];
