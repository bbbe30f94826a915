// Every series once: name, labels and sentence. Dashboards and alerts rely on these names.
// Only the balancer exports http_*, so that nothing is counted twice.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { PATHS } from '../../config/contract.ts';

/** Seconds; dense around the promises (2 s and 3 s at P95) and open to the default deadline. */
const REQUEST_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 8, 13, 30, 60];
/** Seconds; one stage of one picture. */
const STAGE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];

/** The balancer's series in a registry of their own. */
export function balancerMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: 'http_requests_total',
    help: 'Requests answered, by method, route and status.',
    labelNames: ['method', 'route', 'status'] as const,
    registers,
  });
  // There from the start: Prometheus sees no increase in a series that begins with its first failure.
  for (const status of ['500', '502', '503', '504'])
    requests.inc({ method: 'POST', route: PATHS.images, status }, 0);
  return {
    registry,
    requests,
    duration: new Histogram({
      name: 'http_request_duration_seconds',
      help: 'From the first byte of a request to the last of its answer.',
      labelNames: ['method', 'route'] as const,
      buckets: REQUEST_BUCKETS,
      registers,
    }),
    queueLength: new Gauge({
      name: 'toonfleet_queue_length',
      help: 'Pictures that wait for a slot.',
      labelNames: ['class'] as const,
      registers,
    }),
    queueWait: new Histogram({
      name: 'toonfleet_queue_wait_seconds',
      help: 'How long a picture waited for its slot.',
      buckets: REQUEST_BUCKETS,
      registers,
    }),
    slots: new Gauge({
      name: 'toonfleet_slots',
      help: 'Slots by node and state: idle, busy or away.',
      labelNames: ['node', 'state'] as const,
      registers,
    }),
    shed: new Counter({
      name: 'toonfleet_shed_total',
      help: 'Requests refused or dropped for load, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    limitedClients: new Gauge({
      name: 'toonfleet_limited_clients',
      help: 'Addresses whose limits are remembered; at rate_limit.clients newcomers share those of their network.',
      registers,
    }),
    retries: new Counter({
      name: 'toonfleet_retries_total',
      help: 'Attempts made again on another worker, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    wasted: new Counter({
      name: 'toonfleet_wasted_seconds_total',
      help: 'Time for which slots were kept by pictures that nobody got, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    ejections: new Counter({
      name: 'toonfleet_ejections_total',
      help: 'Upstreams taken out for health, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    certificateExpiry: new Gauge({
      name: 'toonfleet_certificate_expiry_timestamp_seconds',
      help: 'When the certificate in use expires, in seconds since 1970; 0 without TLS.',
      registers,
    }),
    cacheRequests: new Counter({
      name: 'toonfleet_cache_requests_total',
      help: 'Pictures asked for with the response cache on, by result: hit, miss or bypass.',
      labelNames: ['result'] as const,
      registers,
    }),
    cacheBytes: new Gauge({
      name: 'toonfleet_cache_bytes',
      help: 'Memory that kept pictures take.',
      registers,
    }),
    cacheStore: new Counter({
      name: 'toonfleet_cache_store_total',
      help: 'Questions to the shared cache (get, put) by how they ended; skipped ones were not asked.',
      labelNames: ['op', 'result'] as const,
      registers,
    }),
    cacheStoreUp: new Gauge({
      name: 'toonfleet_cache_store_up',
      help: '1 while the shared cache answers; 0 also where none is set.',
      registers,
    }),
    rosterFaults: new Counter({
      name: 'toonfleet_roster_faults_total',
      help: 'Times that what an agent said was left out, whole or in part, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    paused: new Gauge({
      name: 'toonfleet_paused',
      help: '1 while an operator holds all pictures in the queue.',
      registers,
    }),
    trafficWeight: new Gauge({
      name: 'toonfleet_traffic_weight',
      help: 'The weight of a release, while traffic is divided.',
      labelNames: ['release'] as const,
      registers,
    }),
    releaseAttempts: new Counter({
      name: 'toonfleet_release_attempts_total',
      help: 'Attempts by release and end (success or fault), while traffic is divided.',
      labelNames: ['release', 'end'] as const,
      registers,
    }),
    rollbacks: new Counter({
      name: 'toonfleet_rollbacks_total',
      help: 'Canaries that went by themselves, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    autoscaleParked: new Gauge({
      name: 'toonfleet_autoscale_parked',
      help: 'Always 1; a VM that autoscale on this box has parked or is moving, by HOST:PORT of its agent.',
      labelNames: ['agent'] as const,
      registers,
    }),
    autoscaleFailed: new Gauge({
      name: 'toonfleet_autoscale_failed_timestamp_seconds',
      help: 'When a VM last could not be parked or woken, in seconds since 1970; gone once it could.',
      labelNames: ['agent'] as const,
      registers,
    }),
    autoscaleWanted: new Gauge({
      name: 'toonfleet_autoscale_wanted_nodes',
      help: 'How many nodes the signals asked for when autoscale last looked.',
      registers,
    }),
    autoscaleLooked: new Gauge({
      name: 'toonfleet_autoscale_last_look_timestamp_seconds',
      help: 'When autoscale on this box last looked at the fleet, in seconds since 1970.',
      registers,
    }),
    backup: backupGauge(registers),
    upstreamState: new Gauge({
      name: 'toonfleet_upstream_state',
      help: '1 for the state that an upstream is in.',
      labelNames: ['upstream', 'node', 'state'] as const,
      registers,
    }),
  };
}
export type BalancerMetrics = ReturnType<typeof balancerMetrics>;

/** Told by an agent, and by a balancer, whose machine may have none. */
const backupGauge = (registers: Registry[]) =>
  new Gauge({
    name: 'toonfleet_backup_last_success_timestamp_seconds',
    help: 'When the last backup of this machine was made, in seconds since 1970; 0 when none has succeeded or it cannot be read, nothing before the first attempt.',
    registers,
  });

/** A worker's series. Its agent sums them over the workers of the node and keeps what dead workers had counted. */
export function workerMetrics() {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    requests: new Counter({
      name: 'toonfleet_worker_requests_total',
      help: 'Pictures that workers answered, by route and status.',
      labelNames: ['route', 'status'] as const,
      registers,
    }),
    stages: new Histogram({
      name: 'toonfleet_stage_duration_seconds',
      help: 'Time of one stage of one picture: decode, infer or encode.',
      labelNames: ['stage'] as const,
      buckets: STAGE_BUCKETS,
      registers,
    }),
  };
}
export type WorkerMetrics = ReturnType<typeof workerMetrics>;

/** What an agent itself measures: the machine, and each of its workers from outside. */
export function agentMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const worker = ['worker'] as const;
  return {
    registry,
    info: new Gauge({
      name: 'toonfleet_node_info',
      help: 'Always 1; says what runs here.',
      labelNames: ['node', 'zone', 'release'] as const,
      registers,
    }),
    workers: new Gauge({
      name: 'toonfleet_workers',
      help: 'Workers of this node by state.',
      labelNames: ['state'] as const,
      registers,
    }),
    cpuRatio: new Gauge({
      name: 'toonfleet_node_cpu_ratio',
      help: 'How much of all cores of this machine was busy over the last second, 0 to 1.',
      registers,
    }),
    cpuSeconds: new Counter({
      name: 'toonfleet_node_cpu_seconds_total',
      help: 'CPU time of this machine, all cores, by mode: busy or idle.',
      labelNames: ['mode'] as const,
      registers,
    }),
    memory: new Gauge({
      name: 'toonfleet_node_memory_bytes',
      help: 'Memory of this machine: used (not available to new programs) and total.',
      labelNames: ['kind'] as const,
      registers,
    }),
    disk: new Gauge({
      name: 'toonfleet_node_disk_bytes',
      help: 'The file system of data_dir: free (for our user) and total.',
      labelNames: ['kind'] as const,
      registers,
    }),
    crashes: new Counter({
      name: 'toonfleet_worker_crashes_total',
      help: 'Workers of this node that ended without saying goodbye.',
      registers,
    }),
    backup: backupGauge(registers),
    workerMemoryLimit: new Gauge({
      name: 'toonfleet_worker_memory_limit_bytes',
      help: 'The resident memory at which one worker gives way to a new process; the whole of the machine where none is set.',
      labelNames: worker,
      registers,
    }),
    workerCpuSeconds: new Gauge({
      name: 'toonfleet_worker_cpu_seconds',
      help: 'CPU time that one worker has used.',
      labelNames: worker,
      registers,
    }),
    workerMemory: new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of one worker.',
      labelNames: worker,
      registers,
    }),
    scaleWorkers: new Gauge({
      name: 'toonfleet_scale_workers',
      help: 'Scaling of this node, by kind: current and desired workers, and the bounds min and max that hold now.',
      labelNames: ['kind'] as const,
      registers,
    }),
    scaleReason: new Gauge({
      name: 'toonfleet_scale_reason',
      help: '1 for the signal, or the bounds, that decided last how many workers there should be.',
      labelNames: ['reason'] as const,
      registers,
    }),
    scaleChanges: new Counter({
      name: 'toonfleet_scale_changes_total',
      help: 'Changes of the number of workers by scaling, by direction and result.',
      labelNames: ['direction', 'result'] as const,
      registers,
    }),
    workerLag: new Gauge({
      name: 'nodejs_eventloop_lag_seconds',
      help: 'How far one worker is behind its timers.',
      labelNames: worker,
      registers,
    }),
  };
}
export type AgentMetrics = ReturnType<typeof agentMetrics>;

/** What the alert relay counts. */
export function relayMetrics() {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    messages: new Counter({
      name: 'toonfleet_relay_messages_total',
      help: 'Notices that were passed on, by channel (wecom, sms, hook) and end (sent or failed).',
      labelNames: ['channel', 'end'] as const,
      registers,
    }),
    retries: new Counter({
      name: 'toonfleet_relay_retries_total',
      help: 'Attempts to pass a notice on that have to be made again, by channel.',
      labelNames: ['channel'] as const,
      registers,
    }),
    waiting: new Gauge({
      name: 'toonfleet_relay_waiting',
      help: 'Notices that wait to be passed on, by channel.',
      labelNames: ['channel'] as const,
      registers,
    }),
  };
}
export type RelayMetrics = ReturnType<typeof relayMetrics>;
