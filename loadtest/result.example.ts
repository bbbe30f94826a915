// One valid step and one valid run, for tests: each test changes the field that it is about.

import type { Run, Step } from './result.ts';

/** A step that held 20 pictures a second without trouble. */
export function aStep(changes: Partial<Step> = {}): Step {
  return {
    label: '20.0/s',
    purpose: 'hold',
    model: 'open',
    offered_qps: 20,
    users: null,
    started_s: 0,
    seconds: 30,
    planned_seconds: 30,
    requests: 600,
    ok: 600,
    shed: 0,
    limited: 0,
    failed: 0,
    wrong: 0,
    reasons: {},
    achieved_qps: 20,
    error_rate: 0,
    latency_ms: { mean: 150, p50: 120, p90: 250, p95: 300, p99: 400, max: 500 },
    refusal_ms: null,
    service_ms: { mean: 90, p50: 80, p90: 130, p95: 150, p99: 190, max: 220 },
    stages_ms: { queue: 40, decode: 8, infer: 78, encode: 4 },
    generator: { late_p99_ms: 1.2, late_max_ms: 3, loop_lag_p99_ms: 0.8, cpu: 0.1 },
    in_flight_mean: 3,
    in_flight_max: 9,
    backlog_growth: 0,
    cpu: 0.7,
    worker_memory_mb: 320,
    queue_length_max: 5,
    cache_hits: 0,
    checked: 30,
    ended: 'complete',
    why: '',
    clauses: [],
    verdict: 'met',
    over_time: [],
    ...changes,
  };
}

/** A run that found a ceiling of 20 pictures a second. */
export function aRun(changes: Partial<Run> = {}): Run {
  return {
    tool: 'toonfleet loadtest',
    format: 1,
    version: '0.1.0',
    commit: 'abcdef0123',
    plan: 'ceiling',
    command: 'toonfleet loadtest http://127.0.0.1:8080',
    url: 'http://127.0.0.1:8080',
    seed: 1,
    started_at: '2026-11-21T12:00:00.000Z',
    seconds: 300,
    exit_code: 0,
    verdict: 'met',
    sentence: 'The ceiling is 20.0/s (21.0/s is too much); 19.0/s was held for 60 s.',
    ceiling_qps: 20,
    ceiling_above_qps: 21,
    confirmed_qps: 19,
    machine: { cpu: 'Example CPU', cores: 2, memory_gb: 8, os: 'Linux', node: 'v20.20.0' },
    priority: 'ordinary',
    fleet: { nodes: ['vm-1'], models: ['example'], node_count: 1, slots: 2, virtual: false },
    photos: { count: 12, mean_kb: 200, mean_megapixels: 0.26, sizes: ['512x512'] },
    styles: ['meadow'],
    slo: { p95_ms: 3000, max_error_rate: 0.01, max_cpu: 0.9, max_worker_memory_mb: 500 },
    warnings: [],
    steps: [aStep()],
    ...changes,
  };
}
