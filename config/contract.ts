// The wire: paths, header names and bodies that processes and clients agree on. Pure.

import { z } from 'zod';

/** Paths of the public API, spoken by the balancer and by every worker. */
export const PATHS = {
  images: '/v1/images',
  styles: '/v1/styles',
  results: '/v1/results',
  transform: '/transform',
  upload: '/upload',
  apiTransform: '/api/v1/transform',
  predict: '/api/predict',
  health: '/health',
  ready: '/ready',
  live: '/live',
  kserveLive: '/v2/health/live',
  kserveReady: '/v2/health/ready',
  docs: '/docs',
  openapi: '/openapi.json',
  thumbnails: '/thumbnails',
  page: '/',
} as const;

/** Where an authority looks for the proof that a name is ours (RFC 8555, 8.3), on the balancer's plain port. */
export const CHALLENGE_PATH = '/.well-known/acme-challenge';

/** Paths that only processes of the fleet use. */
export const INTERNAL_PATHS = {
  /** Agent: the roster of its node. */
  node: '/v1/node',
  /** Agent: a worker announces itself (PUT), repeats it as a heartbeat, or says goodbye (DELETE). */
  announce: '/v1/node/workers',
  /** Agent: whether its node is being drained (GET); drain it (PUT); put it back to work (DELETE). */
  nodeDrain: '/v1/node/drain',
  /** Agent: lines of this machine's logs (GET), as {@link logQuerySchema} asks for them. */
  logs: '/v1/node/logs',
  /** Agent: what `toonfleet doctor --json` says of its machine (GET). */
  doctor: '/v1/node/doctor',
  /** Agent: how many workers its node has and why (GET); so many, or as many as the signals ask for (PUT). */
  nodeScale: '/v1/node/scale',
  /** Worker: its state as {@link workerReportSchema}. */
  workerReport: '/internal/worker',
  /** Worker: its series as prom-client's JSON, for its agent. */
  workerMetrics: '/internal/metrics.json',
  /** Balancer (admin port) and agent: Prometheus text. */
  metrics: '/metrics',
  /** Balancer (admin port) and agent: a short summary, Prometheus text or JSON by `Accept`. */
  stats: '/internal/stats',
} as const;

/** Header names, lower case as Node gives them. */
export const HEADERS = {
  requestId: 'x-request-id',
  traceparent: 'traceparent',
  /** How many ms the client is willing to wait; on the way to a worker, how many are left. */
  deadlineMs: 'x-deadline-ms',
  /** `batch` for work that may wait for idle slots; `interactive` is what goes without saying. */
  priority: 'x-priority',
  /** Set by a balancer: 1 for the first try. A worker answers it at once, with `busy` when its slot is taken. */
  attempt: 'x-attempt',
  /** Set by a worker beside 503: `busy` or `draining`. Neither is a failure. */
  admission: 'x-admission',
  /** Set by a balancer for `POST /upload`: the multipart field that held the picture, which decides the answer's shape. */
  uploadField: 'x-upload-field',
  /** The secret that balancers, agents and workers share. */
  nodeKey: 'x-node-key',
  serverTiming: 'server-timing',
  style: 'x-style',
  model: 'x-model',
  /** On an answer: `full`, or `fast` with the longest side or the style that it was drawn at instead (`effort.ts`). */
  effort: 'x-effort',
  /** How many faces were drawn by themselves, by a style that looks for faces. */
  faces: 'x-faces',
  node: 'x-node',
  /** On a request: the release that has to draw it. On an answer: the one that did. */
  release: 'x-release',
  cache: 'x-cache',
  queueLength: 'x-queue-length',
  /** A client's API key, where it does not stand in `Authorization`. */
  apiKey: 'x-api-key',
  authenticate: 'www-authenticate',
  rateLimit: 'ratelimit',
  rateLimitPolicy: 'ratelimit-policy',
  /** Set by a balancer that asks for a roster: its own name, so that the agent knows who has seen what. */
  balancer: 'x-balancer',
  /** Set by a balancer that asks for a roster: its queue and its times, see {@link BalancerLoad}. */
  load: 'x-load',
} as const;

/** What a worker says with {@link HEADERS.admission}. */
export type Admission = 'busy' | 'draining';

/** Request headers that a balancer passes on; every other one stays behind. */
export const FORWARDED_REQUEST_HEADERS = [
  'accept',
  'if-none-match',
  'if-modified-since',
  'if-range',
  'range',
  HEADERS.requestId,
  HEADERS.traceparent,
] as const;

/** A worker's states, in the order in which it goes through them. */
export const workerStates = ['loading', 'ready', 'draining'] as const;
export type WorkerState = (typeof workerStates)[number];

/** One worker as its node's agent tells it. */
export const rosterWorkerSchema = z.object({
  id: z.string().min(1).max(100),
  pid: z.number().int().positive(),
  url: z.url(),
  slots: z.number().int().min(1).max(1000),
  state: z.enum(workerStates),
  models: z.array(z.string()),
  /** How many slots are taken now. */
  busy: z.number().int().min(0),
  /** Measured; null before the first picture. */
  ms_per_megapixel: z.number().min(0).nullable(),
});
export type RosterWorker = z.infer<typeof rosterWorkerSchema>;

/** How many workers a node has, should have, and why. */
export const nodeScaleSchema = z.object({
  /** `off`: PM2 keeps worker.count. `fixed`: an operator has said how many. `auto`: the signals say it. */
  mode: z.enum(['off', 'fixed', 'auto']),
  current: z.number().int().min(0),
  desired: z.number().int().min(0),
  min: z.number().int().min(0),
  max: z.number().int().min(0),
  low_peak: z.boolean(),
  /** The arithmetic in words, or what stands in the way. */
  reason: z.string().max(1000),
});
export type NodeScale = z.infer<typeof nodeScaleSchema>;

/** `PUT` {@link INTERNAL_PATHS.nodeScale}. */
export const nodeScaleWishSchema = z.strictObject({
  workers: z.union([z.literal('auto'), z.number().int().min(1).max(256)]),
});

/** `GET http://NODE:8001/v1/node`. */
export const nodeRosterSchema = z.object({
  node: z.string().min(1).max(100),
  zone: z.string(),
  release: z.string(),
  preemptible: z.boolean(),
  draining: z.boolean(),
  workers: z.array(rosterWorkerSchema).max(1000),
  scale: nodeScaleSchema.optional(),
});
export type NodeRoster = z.infer<typeof nodeRosterSchema>;

/** What a worker tells its agent, and what it answers on {@link INTERNAL_PATHS.workerReport}. */
export const workerReportSchema = rosterWorkerSchema.extend({
  rss_bytes: z.number().int().min(0),
  event_loop_lag_ms: z.number().min(0),
  /** It has worked enough, and leaves for a new process as soon as its agent lets it. */
  tired: z.boolean().optional(),
});
export type WorkerReport = z.infer<typeof workerReportSchema>;

/** What the agent answers to an announcement. */
export const announceReplySchema = z.object({
  /** Whether every balancer that asked lately has been given this state of this worker. */
  seen: z.boolean(),
  /** Whether it may leave now, being tired: nobody else of the node is coming or going. */
  may_rest: z.boolean().optional(),
});

/** What the agent answers on {@link INTERNAL_PATHS.nodeDrain}. */
export const nodeDrainSchema = z.object({
  draining: z.boolean(),
  /** Whether every balancer that asked for the roster lately has been given this. */
  seen: z.boolean(),
  /** Slots of this node that are taken now, as its workers say when they are asked. */
  busy: z.number().int().min(0),
});
export type NodeDrain = z.infer<typeof nodeDrainSchema>;

/** One style as clients see it. */
export const styleSchema = z
  .object({
    id: z.string().meta({ example: 'meadow' }),
    title: z.string().meta({ example: 'Meadow' }),
    model: z.string().meta({ description: 'The model that draws it.' }),
    licence: z.string().meta({ description: 'The licence of the weights.', example: 'Apache-2.0' }),
    thumbnail_url: z.string().nullable(),
    aliases: z.array(z.string()),
    default: z.boolean(),
    version: z.string().min(1).max(100).optional().meta({
      description:
        'It changes when the same photo may come out differently: other weights, another way to feed them, or another release.',
      example: '3f1c0a2b9d4e-0.1.0',
    }),
  })
  .meta({ id: 'Style' });
export type Style = z.infer<typeof styleSchema>;

/** The path of a style's thumbnail. */
export function thumbnailPath(style: string): string {
  return `${PATHS.thumbnails}/${style}.webp`;
}

/** The style whose thumbnail a path is; undefined for any other path. */
export function styleOfThumbnail(path: string): string | undefined {
  return /^\/thumbnails\/([a-z0-9][a-z0-9_-]{0,63})\.webp$/.exec(path)?.[1];
}

/** A model by the first digits of its SHA-256. */
const modelDigest = (sha256: string) => sha256.slice(0, 12);

/** What {@link HEADERS.model} says of a model. */
export function modelHeader(sha256: string, variant = 'f32'): string {
  return `${modelDigest(sha256)}; variant=${variant}`;
}

/**
 * A style's version: the model that draws it, and the release of the worker.
 * @param feeding How the model is fed, in short, where that is the operator's to say: the same file draws otherwise with
 * another range of values.
 */
export function styleVersion(sha256: string, release: string, feeding?: string): string {
  return [modelDigest(sha256), ...(feeding === undefined ? [] : [feeding]), release].join('-');
}

/** Whether an answer with this {@link HEADERS.model} was drawn by the model of a style's version. */
export function isDrawnBy(header: string | undefined, version: string): boolean {
  return header !== undefined && header.split(';', 1)[0]?.trim() === version.split('-', 1)[0];
}

/** `GET /v1/styles`. */
export const styleListSchema = z.object({ styles: z.array(styleSchema) }).meta({ id: 'StyleList' });
export type StyleList = z.infer<typeof styleListSchema>;

/** Where a picture's time went, in ms; a stage that did not happen is left out. */
export const timingsSchema = z
  .object({
    upload: z.number().optional(),
    queue: z.number().optional(),
    decode: z.number().optional(),
    infer: z.number().optional(),
    encode: z.number().optional(),
    total: z.number().optional(),
  })
  .meta({ id: 'Timings', description: 'Milliseconds.' });
export type Timings = z.infer<typeof timingsSchema>;

/** The JSON answer of `POST /v1/images`. */
export const imageResultSchema = z
  .object({
    id: z.string(),
    style: z.string(),
    model: z.string(),
    width: z.number().int(),
    height: z.number().int(),
    effort: z
      .enum(['full', 'fast'])
      .meta({ description: '`fast`: smaller, or in another style, than with `effort=full`.' }),
    faces: z.number().int().optional().meta({
      description: 'How many faces were drawn separately; only from a style that looks for faces.',
    }),
    result_url: z.string().meta({ description: 'A relative path; kept for results.ttl.' }),
    result_base64: z.string().optional().meta({ description: 'A data URL; left out with base64=false.' }),
    timings: timingsSchema,
  })
  .meta({ id: 'ImageResult' });
export type ImageResult = z.infer<typeof imageResultSchema>;

/** The JSON answer of `POST /api/v1/transform`, and of `POST /upload` with a field `image`. */
export const transformResultSchema = z
  .object({
    status: z.literal('success'),
    elapsed_time: z.number().meta({ description: 'Seconds.' }),
    result_base64: z.string().meta({ description: 'A data URL of a PNG.' }),
    result_url: z.string(),
    style: z.string(),
  })
  .meta({ id: 'TransformResult' });
export type TransformResult = z.infer<typeof transformResultSchema>;

/** The JSON body and answer of `POST /api/predict`. */
export const predictRequestSchema = z
  .object({ data: z.array(z.unknown()).min(1).max(8) })
  .meta({ id: 'PredictRequest', description: 'data[0] is a data URL of the picture, data[1] a style.' });
export const predictResultSchema = z
  .object({ data: z.array(z.string()), duration: z.number().meta({ description: 'Seconds.' }) })
  .meta({ id: 'PredictResult' });
export type PredictResult = z.infer<typeof predictResultSchema>;

/** `GET /health`. */
export const healthSchema = z
  .object({
    status: z.enum(['healthy', 'unhealthy']),
    model_loaded: z.boolean(),
    node: z.string().optional(),
    version: z.string(),
    release: z.string().optional().meta({ description: 'The release that answers.' }),
  })
  .meta({ id: 'Health' });
/** `GET /ready`. */
export const readySchema = z
  .object({
    status: z.enum(['ready', 'loading', 'draining']),
    node: z.string().optional(),
    detail: z.string().optional().meta({ description: 'Why a worker is not ready.' }),
  })
  .meta({ id: 'Ready' });
/** `GET /live`. */
export const liveSchema = z.object({ status: z.literal('live') }).meta({ id: 'Live' });

/** What failures say beside their code. */
const failureExtras = {
  styles: z.array(z.string()).optional().meta({ description: 'With unknown_style: the styles that exist.' }),
};

/** RFC 9457, on `/v1/*`. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string(),
    request_id: z.string(),
    ...failureExtras,
  })
  .meta({ id: 'Problem' });
/** Failures of `/transform`, `/upload` and `/api/predict`. */
export const plainErrorSchema = z
  .object({ error: z.string(), code: z.string(), request_id: z.string(), ...failureExtras })
  .meta({ id: 'PlainError' });
/** Failures of `/api/v1/transform`. */
export const statusErrorSchema = z
  .object({
    status: z.literal('error'),
    code: z.string(),
    message: z.string(),
    request_id: z.string(),
    ...failureExtras,
  })
  .meta({ id: 'StatusError' });

/** `<node>.<22 base64url characters>`: carries the node that keeps it, and 128 random bits. */
const RESULT_ID = /^([a-z0-9][a-z0-9-]{0,38})\.([A-Za-z0-9_-]{22})$/;

/** A result's id from its node and 128 random bits as base64url. */
export function resultId(node: string, random: string): string {
  return `${node}.${random}`;
}

/** The node that keeps a result, or undefined when the text is not a result's id. */
export function nodeOfResult(id: string): string | undefined {
  return RESULT_ID.exec(id)?.[1];
}

/** What a balancer tells every agent that it asks: the signals of scaling that only it can see. */
export interface BalancerLoad {
  /** Pictures that wait for a slot now. */
  readonly queue: number;
  /** Of the pictures that were answered lately: mean time, 95th percentile, and mean wait for a slot, ms. */
  readonly mean: number;
  readonly p95: number;
  readonly wait: number;
}

const LOAD = /^queue=(\d{1,9}); mean=(\d{1,9}); p95=(\d{1,9}); wait=(\d{1,9})$/;

/** Writes {@link HEADERS.load}. */
export function formatLoad({ queue, mean, p95, wait }: BalancerLoad): string {
  const [q, m, p, w] = [queue, mean, p95, wait].map((value) => Math.min(999_999_999, Math.round(value)));
  return `queue=${q}; mean=${m}; p95=${p}; wait=${w}`;
}

/** Reads {@link HEADERS.load}; undefined when it is not one. */
export function parseLoad(header: unknown): BalancerLoad | undefined {
  const match = typeof header === 'string' ? LOAD.exec(header) : null;
  if (!match) return undefined;
  const [queue = 0, mean = 0, p95 = 0, wait = 0] = match.slice(1).map(Number);
  return { queue, mean, p95, wait };
}

/** A request id that is safe to echo and to log; anything else is replaced by a new one. */
export function isRequestId(value: string | undefined): value is string {
  return value !== undefined && /^[A-Za-z0-9._:-]{1,128}$/.test(value);
}

/** Writes timings as a `Server-Timing` header. */
export function formatServerTiming(timings: Timings): string {
  return Object.entries(timings)
    .filter((entry): entry is [string, number] => entry[1] !== undefined)
    .map(([stage, ms]) => `${stage};dur=${ms.toFixed(1)}`)
    .join(', ');
}

/** Reads the stages of {@link Timings} from a `Server-Timing` header; anything else in it is passed over. */
export function parseServerTiming(header: string | undefined): Timings {
  const timings: Record<string, number> = {};
  for (const part of (header ?? '').split(',')) {
    const match = /^\s*([a-z]+)\s*;\s*dur=(\d+(?:\.\d+)?)\s*$/.exec(part);
    if (match?.[1] && Object.hasOwn(timingsSchema.shape, match[1])) timings[match[1]] = Number(match[2]);
  }
  return timings;
}

/** The levels of log lines, the least severe first. */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** The processes that write logs. */
export const logApps = ['balancer', 'worker', 'agent'] as const;
export type LogApp = (typeof logApps)[number];

/** The most lines of one answer on {@link INTERNAL_PATHS.logs}. */
export const MAX_LOG_LINES = 2_000;

/** What of a machine's logs is asked for; as a query of {@link INTERNAL_PATHS.logs}. */
export const logQuerySchema = z.strictObject({
  /** Only lines of this request. */
  request: z.string().refine(isRequestId).optional(),
  /** The least severe level; lines that are no JSON count as errors. */
  level: z.enum(logLevels).default('debug'),
  app: z.enum(logApps).optional(),
  /** Only lines that were written at or after this time, ms since 1970. */
  since: z.coerce.number().int().min(0).max(8.64e15).optional(),
  /** The most lines: the last ones, or with `cursor` the next ones. */
  lines: z.coerce.number().int().min(1).max(MAX_LOG_LINES).default(200),
  /** Where the answer before ended. */
  cursor: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,2000}$/)
    .optional(),
});
export type LogQuery = z.infer<typeof logQuerySchema>;

/** One line of a log with the time that it says, or that the line before it says; ms since 1970, 0 when unknown. */
export const logEntrySchema = z.object({ at: z.number(), app: z.enum(logApps), text: z.string() });
export type LogEntry = z.infer<typeof logEntrySchema>;

/** What an agent answers on {@link INTERNAL_PATHS.logs}. */
export const logReplySchema = z.object({
  node: z.string(),
  entries: z.array(logEntrySchema),
  /** Ask with it for what comes after. */
  cursor: z.string(),
  /** True when the logs held more than was looked through or given. */
  more: z.boolean(),
  /** Compressed files that may hold more of what was asked for, and that nobody looked into. */
  unread: z.number().int().min(0).default(0),
});
export type LogReply = z.infer<typeof logReplySchema>;
