// The JSON that a run leaves behind: what the terminal and the HTML show, what a later run compares itself with, and
// what the capacity plan reads. k6 and Locust write files of their own. Pure.

import { z } from 'zod';

const percentilesSchema = z.object({
  mean: z.number(),
  p50: z.number(),
  p90: z.number(),
  p95: z.number(),
  p99: z.number(),
  max: z.number(),
});

/** The service level that a run was judged by; null switches a clause off. */
export const sloSchema = z.strictObject({
  /** 95 of 100 pictures come back within this many ms. */
  p95_ms: z.number().positive().nullable(),
  /** The share of requests that may end without a picture, 0-1. */
  max_error_rate: z.number().min(0).max(1).nullable(),
  /** The mean CPU of the busiest node, 0-1. */
  max_cpu: z.number().positive().max(1).nullable(),
  /** The largest resident memory of one worker, MB (10^6 bytes). */
  max_worker_memory_mb: z.number().positive().nullable(),
});
export type Slo = z.infer<typeof sloSchema>;

/** One clause of the service level, judged. */
export const clauseSchema = z.object({
  name: z.enum(['p95', 'errors', 'keeps up', 'cpu', 'memory']),
  /** What was found and what is allowed, in words. */
  found: z.string(),
  limit: z.string(),
  /** null: not measured, and therefore not graded. */
  met: z.boolean().nullable(),
});
export type Clause = z.infer<typeof clauseSchema>;

/** One second of a step. */
export const secondSchema = z.object({
  /** Seconds from the start of the run. */
  t: z.number(),
  sent: z.number(),
  ok: z.number(),
  shed: z.number(),
  /** Limited, failed and wrong. */
  failed: z.number(),
  /** Of the pictures that came back in this second, ms; null when none did. */
  p50: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
  in_flight: z.number(),
  /** Mean time in the balancer's queue of the pictures that came back, ms. */
  queue_ms: z.number().nullable(),
  /** The busiest node, 0-1. */
  cpu: z.number().nullable(),
  queue_length: z.number().nullable(),
  worker_memory_mb: z.number().nullable(),
});
export type Second = z.infer<typeof secondSchema>;

export const stageNames = ['upload', 'queue', 'decode', 'infer', 'encode', 'total'] as const;
export type StageName = (typeof stageNames)[number];

/** One step: a load that was held, and what came of it. */
export const stepSchema = z.object({
  label: z.string(),
  purpose: z.enum(['ramp', 'bisect', 'confirm', 'step', 'hold', 'spike', 'recover', 'reload', 'stress']),
  model: z.enum(['open', 'closed']),
  /** Open model: pictures due a second. */
  offered_qps: z.number().nullable(),
  /** Closed model: users who each wait for their answer. */
  users: z.number().nullable(),
  started_s: z.number(),
  /** How long arrivals went on, s. */
  seconds: z.number(),
  planned_seconds: z.number(),
  requests: z.number(),
  ok: z.number(),
  shed: z.number(),
  limited: z.number(),
  failed: z.number(),
  wrong: z.number(),
  reasons: z.record(z.string(), z.number()),
  /** Pictures that came back a second while the load was held. */
  achieved_qps: z.number(),
  /** Requests that ended without a picture, of all. */
  error_rate: z.number(),
  /** Of pictures that came back, from the moment each request was due. */
  latency_ms: percentilesSchema.nullable(),
  /** Of 503 answers. */
  refusal_ms: percentilesSchema.nullable(),
  /** What a worker was busy with one picture: decode, infer and encode together, from Server-Timing. */
  service_ms: percentilesSchema.nullable(),
  /** Mean over pictures, from Server-Timing. */
  stages_ms: z.partialRecord(z.enum(stageNames), z.number()),
  /** How late the generator itself was, and how busy. */
  generator: z.object({
    late_p99_ms: z.number(),
    late_max_ms: z.number(),
    loop_lag_p99_ms: z.number(),
    cpu: z.number(),
  }),
  in_flight_mean: z.number(),
  in_flight_max: z.number(),
  /** By how much the requests without an answer grew over the last two thirds. */
  backlog_growth: z.number(),
  cpu: z.number().nullable(),
  worker_memory_mb: z.number().nullable(),
  queue_length_max: z.number().nullable(),
  cache_hits: z.number(),
  /** Answers that were decoded and looked at. */
  checked: z.number(),
  /** How it ended: run to its end, its verdict was known before, a safety rule, or Ctrl-C. */
  ended: z.enum(['complete', 'passed early', 'failed early', 'aborted', 'interrupted']),
  why: z.string(),
  clauses: z.array(clauseSchema),
  /** `not graded`: the step only shows something; its plan judges it as part of the whole. */
  verdict: z.enum(['met', 'not met', 'invalid', 'not graded']),
  over_time: z.array(secondSchema),
});
export type Step = z.infer<typeof stepSchema>;

/** Where a run was made. */
export const machineSchema = z.object({
  cpu: z.string(),
  cores: z.number(),
  memory_gb: z.number(),
  os: z.string(),
  node: z.string(),
});

/** How many units the fleet under test had, as far as agents and answers told. */
export const fleetSchema = z.object({
  /** Node names seen in answers (X-Node). */
  nodes: z.array(z.string()),
  /** Models seen in answers (X-Model). */
  models: z.array(z.string()),
  /** Nodes and slots as the agents or the command line told; null where nobody did. */
  node_count: z.number().nullable(),
  slots: z.number().nullable(),
  /** True when the workers only slept: such figures are about balancer and queue, never about drawing. */
  virtual: z.boolean(),
});

export const verdicts = ['met', 'not met', 'invalid', 'aborted', 'interrupted'] as const;

/** What a plan answers besides its steps. */
export const answerSchema = z.object({
  verdict: z.enum(verdicts),
  /** The answer in a sentence. */
  sentence: z.string(),
  ceiling_qps: z.number().nullable(),
  /** The lowest rate that failed; null when none did. */
  ceiling_above_qps: z.number().nullable(),
  confirmed_qps: z.number().nullable(),
});
export type PlanAnswer = z.infer<typeof answerSchema>;

/** One run of the load test. */
export const runSchema = answerSchema.extend({
  tool: z.literal('toonfleet loadtest'),
  format: z.literal(1),
  version: z.string(),
  commit: z.string().nullable(),
  plan: z.string(),
  command: z.string(),
  url: z.string(),
  seed: z.number(),
  started_at: z.string(),
  seconds: z.number(),
  exit_code: z.number(),
  machine: machineSchema,
  /** Whether the system ran the generator before others; it needs little CPU, but that on time. */
  priority: z.enum(['raised', 'ordinary']),
  fleet: fleetSchema,
  photos: z.object({
    count: z.number(),
    mean_kb: z.number(),
    mean_megapixels: z.number(),
    sizes: z.array(z.string()),
  }),
  styles: z.array(z.string()),
  slo: sloSchema,
  warnings: z.array(z.string()),
  steps: z.array(stepSchema),
});
export type Run = z.infer<typeof runSchema>;
