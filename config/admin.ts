// The admin API on the balancer's admin port: paths, bodies and answers that operators' programs and `toonfleet` itself
// rely on. Pure.

import { z } from 'zod';
import { nodeScaleSchema } from './contract.ts';
import { origin } from './settings/field.ts';

export const ADMIN_PATHS = {
  status: '/admin/v1/status',
  events: '/admin/v1/events',
  /** `/{id}` behind it: PUT, DELETE; `/{id}/drain` and `/{id}/undrain`: POST. */
  nodes: '/admin/v1/nodes',
  traffic: '/admin/v1/traffic',
  pause: '/admin/v1/pause',
  resume: '/admin/v1/resume',
} as const;

/** How long `POST …/drain` waits without `?wait=`, and the most that it may be asked to wait. */
export const DRAIN_WAIT_MS = 30_000;
export const MAX_DRAIN_WAIT_MS = 600_000;

/** The id of a node: its own name, HOST:PORT, or what it was called when it was added. */
export const nodeIdSchema = z.string().regex(/^[A-Za-z0-9[][A-Za-z0-9.:_[\]-]{0,99}$/);

/** `PUT /admin/v1/nodes/{id}`: a node with an agent, or a plain worker. */
export const nodeSpecSchema = z.union([
  z.strictObject({ agent: origin }),
  z.strictObject({
    url: origin,
    slots: z.number().int().min(1).max(1000).default(1),
    release: z.string().min(1).max(64).optional(),
  }),
]);
export type NodeSpec = z.output<typeof nodeSpecSchema>;

/** When a canary has to go by itself. */
export const rollbackSchema = z.strictObject({
  /** The release that the others are compared with; by default the one with the largest weight. */
  base: z.string().min(1).max(64).optional(),
  /** So much more of a canary's attempts may fail than of the base's, 0 to 1. */
  max_error_ratio: z.number().min(0).max(1).default(0.05),
  /** A canary's pictures may take so many times as long as the base's; median against median. */
  max_latency_ratio: z.number().min(1).max(100).default(1.5),
  /** Attempts before anything is concluded, unless too many have failed already. */
  min_requests: z.number().int().min(1).max(500).default(50),
});
export type RollbackWish = z.output<typeof rollbackSchema>;

/** `PUT /admin/v1/traffic`, the long form; the short form is the weights alone. `weights: null` divides nothing any more. */
export const trafficWishSchema = z.strictObject({
  weights: z.record(z.string(), z.unknown()).nullable(),
  rollback: z.union([z.literal(true), rollbackSchema]).optional(),
});

/** How traffic is divided now. */
export const trafficSchema = z.object({
  /** Null: it is not divided. */
  weights: z.record(z.string(), z.number()).nullable(),
  rollback: rollbackSchema.nullable(),
  /** The canary that went by itself since the weights were last set. */
  rolled_back: z
    .object({ release: z.string(), reason: z.string(), sentence: z.string(), at: z.string() })
    .nullable(),
});
export type Traffic = z.infer<typeof trafficSchema>;

/** The release that the others are compared with. */
export function baseOf(weights: Readonly<Record<string, number>>, rollback: RollbackWish): string {
  if (rollback.base !== undefined) return rollback.base;
  const [first = ''] = Object.entries(weights)
    .sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    .map(([release]) => release);
  return first;
}

/** What `GET` and `PUT /admin/v1/traffic` answer: the wish, and what came of it. */
export const trafficReplySchema = trafficSchema.extend({
  /** Attempts on each release since this balancer follows these weights; one that is missing got none. Balancers of before do not tell. */
  seen: z
    .record(z.string(), z.object({ attempts: z.number().int().min(0), faults: z.number().int().min(0) }))
    .optional(),
});
export type TrafficReply = z.infer<typeof trafficReplySchema>;

/** `POST …/drain` and `…/undrain`. */
export const drainReplySchema = z.object({
  node: z.string(),
  draining: z.boolean(),
  /** Nothing runs there any more, and every balancer knows that it takes nothing new. */
  drained: z.boolean(),
  in_flight: z.number().int().min(0),
});
export type DrainReply = z.infer<typeof drainReplySchema>;

/** One node in {@link statusSchema}. */
export const nodeStatusSchema = z.object({
  id: z.string(),
  kind: z.enum(['agent', 'plain']),
  url: z.string(),
  /** `settings`, or `admin` when it was added at run time. */
  from: z.enum(['settings', 'admin']),
  release: z.string().nullable(),
  draining: z.boolean(),
  /** It has a worker that takes pictures now. */
  available: z.boolean(),
  slots: z.number().int(),
  /** Those of them that take pictures now. */
  slots_in_service: z.number().int(),
  in_flight: z.number().int(),
  /** Null where no agent has told it. */
  zone: z.string().nullable(),
  /** How its number of workers is kept; null where no agent tells it. */
  scale: nodeScaleSchema.nullable(),
  /** What is wrong with its agent or with what that one says; null when nothing is. */
  fault: z.string().nullable(),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

/** Whether the slots would still be enough with a part of the fleet gone. */
export const spareSchema = z.object({
  /** In service now. */
  slots: z.number().int(),
  /** Taken on average, and waited for. */
  needed: z.number().int(),
  zones: z.array(z.object({ zone: z.string(), nodes: z.number().int(), slots: z.number().int() })),
  without_largest_zone: z.object({
    zone: z.string().nullable(),
    slots: z.number().int(),
    enough: z.boolean(),
  }),
  /** The largest node of every zone is gone. */
  without_a_node_of_each_zone: z.object({ slots: z.number().int(), enough: z.boolean() }),
});
export type Spare = z.infer<typeof spareSchema>;

/** `GET /admin/v1/status`, as far as `toonfleet status` reads it. */
export const statusSchema = z.object({
  version: z.string(),
  status: z.enum(['ready', 'loading', 'draining']),
  paused: z.boolean(),
  min_available: z.number().int(),
  queue: z.object({ interactive: z.number(), batch: z.number() }),
  /** The last seconds: slots that were taken on average; of the pictures mean time, 95th percentile and mean wait, ms. */
  load: z.object({ busy: z.number(), mean_ms: z.number(), p95_ms: z.number(), wait_ms: z.number() }),
  spare: spareSchema,
  traffic: trafficReplySchema,
  nodes: z.array(nodeStatusSchema),
  upstreams: z.array(
    z.object({
      id: z.string(),
      node: z.string().nullable(),
      state: z.string(),
      release: z.string().nullable(),
      slots: z.number(),
      taken: z.number(),
      in_flight: z.number(),
    }),
  ),
});
export type AdminStatus = z.infer<typeof statusSchema>;
