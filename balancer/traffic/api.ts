// The admin API's calls, one function each: what was asked is read and judged here, and done by nodes, traffic and
// dispatch. Whoever calls has shown the token already (`guard.ts`). Knows no sockets but the one that events go to.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { z } from 'zod';
import {
  ADMIN_PATHS,
  DRAIN_WAIT_MS,
  MAX_DRAIN_WAIT_MS,
  nodeIdSchema,
  nodeSpecSchema,
  type RollbackWish,
  rollbackSchema,
  trafficWishSchema,
} from '../../config/admin.ts';
import { ToonError } from '../../config/errors.ts';
import { formatDuration, parseDuration } from '../../config/units.ts';
import { readJsonBody } from '../../ops/process/json-body.ts';
import { type StatusParts, statusOf } from '../admin/status.ts';
import type { Dispatch } from '../schedule/dispatch.ts';
import type { Events } from './events.ts';
import type { Nodes } from './nodes.ts';
import type { StateFile } from './state.ts';
import type { Traffic } from './traffic.ts';

export interface ApiParts extends StatusParts {
  readonly dispatch: Dispatch;
  readonly nodes: Nodes;
  readonly traffic: Traffic;
  readonly events: Events;
  readonly state: StateFile;
}

/** What a call comes to: an answer, or a stream of events. */
export type ApiAnswer =
  | { readonly kind: 'json'; readonly status: number; readonly body: object }
  | { readonly kind: 'events'; readonly after: number | undefined };

interface Call {
  readonly parts: ApiParts;
  readonly request: IncomingMessage;
  readonly query: URLSearchParams;
}

/**
 * Answers a call.
 * @throws {ToonError} for what cannot be done, with a sentence that says what to do.
 */
export async function callApi(parts: ApiParts, request: IncomingMessage): Promise<ApiAnswer> {
  const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://admin');
  const call = { parts, request, query };
  switch (pathname) {
    case ADMIN_PATHS.status:
      only(request, 'GET', 'HEAD');
      return ok(statusOf(parts));
    case ADMIN_PATHS.events:
      only(request, 'GET');
      return { kind: 'events', after: lastEventId(request) };
    case ADMIN_PATHS.traffic:
      only(request, 'PUT', 'GET');
      return ok(request.method === 'GET' ? parts.traffic.told() : await divide(call));
    case ADMIN_PATHS.pause:
    case ADMIN_PATHS.resume:
      only(request, 'POST');
      return ok(hold(parts, pathname === ADMIN_PATHS.pause));
    case ADMIN_PATHS.nodes:
      only(request, 'GET');
      return ok({ nodes: parts.nodes.list() });
    default:
      return ofNode(call, pathname);
  }
}

const ok = (body: object, status = 200): ApiAnswer => ({ kind: 'json', status, body });

const NODE_PATH = /^\/admin\/v1\/nodes\/([^/]+)(?:\/(drain|undrain))?$/;

async function ofNode({ parts, request, query }: Call, pathname: string): Promise<ApiAnswer> {
  const [, coded, verb] = NODE_PATH.exec(pathname) ?? [];
  if (coded === undefined) throw new ToonError('not_found');
  const { nodes } = parts;
  const id = idOf(coded);
  switch (verb) {
    case 'drain':
      only(request, 'POST');
      return ok(await nodes.drain(id, waitOf(query)));
    case 'undrain':
      only(request, 'POST');
      return ok(await nodes.undrain(id));
    default: {
      only(request, 'PUT', 'DELETE');
      if (request.method === 'DELETE') return ok(await nodes.remove(id));
      const spec = read(nodeSpecSchema, await readJsonBody(request), NODE_EXAMPLE);
      const isNew = await nodes.put(id, spec);
      const node = nodes.list().find((each) => each.url === ('agent' in spec ? spec.agent : spec.url));
      return ok({ ...node }, isNew ? 201 : 200);
    }
  }
}

const NODE_EXAMPLE =
  'send {"agent": "http://10.0.0.14:8001"}, or for a worker without one {"url": "http://10.0.0.15:8100", "slots": 1}';

function only({ method = '' }: IncomingMessage, ...allow: string[]): void {
  if (!allow.includes(method)) throw new ToonError('method_not_allowed', { allow });
}

function idOf(coded: string): string {
  try {
    const id = nodeIdSchema.safeParse(decodeURIComponent(coded));
    if (id.success) return id.data;
  } catch {
    // Not an URL's coding.
  }
  throw new ToonError('bad_request', {
    detail: 'A node is called by letters, digits, dots, dashes and colons, at most 100.',
  });
}

function waitOf(query: URLSearchParams): number {
  const text = query.get('wait');
  if (text === null) return DRAIN_WAIT_MS;
  const ms = parseDuration(text);
  if (ms !== undefined && ms <= MAX_DRAIN_WAIT_MS) return ms;
  throw new ToonError('bad_request', {
    detail: `wait: found "${text.slice(0, 40)}"; allowed is a duration up to ${formatDuration(MAX_DRAIN_WAIT_MS)}, such as 30s.`,
  });
}

function lastEventId({ headers }: IncomingMessage): number | undefined {
  const text = headers['last-event-id'];
  return typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Weights alone, or with a wish for rollback beside them. */
async function divide({ parts, request }: Call): Promise<object> {
  const body = await readJsonBody(request);
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ToonError('bad_request', { detail: TRAFFIC_EXAMPLE });
  const weights = (body as { weights?: unknown }).weights;
  const isLong = Object.hasOwn(body, 'weights') && typeof weights === 'object';
  if (!isLong) return parts.traffic.set(body as Record<string, unknown>, null);
  const wish = read(trafficWishSchema, body, TRAFFIC_EXAMPLE);
  return parts.traffic.set(wish.weights, rollbackOf(wish.rollback));
}

function rollbackOf(wish: RollbackWish | true | undefined): RollbackWish | null {
  if (wish === undefined) return null;
  return wish === true ? rollbackSchema.parse({}) : wish;
}

const TRAFFIC_EXAMPLE =
  'Send {"1.4.0": 95, "1.5.0": 5}, or {"weights": {"1.4.0": 95, "1.5.0": 5}, "rollback": {"max_error_ratio": 0.05}}; {"weights": null} divides nothing any more.';

function hold({ dispatch, state }: ApiParts, paused: boolean): object {
  state.change((before) => ({ ...before, paused }));
  return { paused, queued: dispatch.queued };
}

function read<T extends z.ZodType>(schema: T, body: unknown, example: string): z.output<T> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.');
  throw new ToonError('bad_request', {
    detail: `${where ? `${where}: ` : ''}${issue?.message ?? 'not understood'}; ${example}.`.replace(
      /\.\.$/,
      '.',
    ),
  });
}

/** A proxy between may cut what is silent for a minute. */
const HEARTBEAT_MS = 15_000;
/** A listener that reads so little is cut, and comes back with the id of its last event. */
const BEHIND_BYTES = 1024 * 1024;

/** Sends events until the listener goes; the answer ends the stream from our side. */
export function streamEvents(
  response: ServerResponse,
  events: Events,
  after: number | undefined,
): () => void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // nginx would gather them.
    'x-accel-buffering': 'no',
  });
  response.write(': listening\n\n');
  const send = (text: string) => {
    if (response.writableLength > BEHIND_BYTES) response.destroy();
    else response.write(text);
  };
  const heartbeat = setInterval(() => send(': still here\n\n'), HEARTBEAT_MS);
  const unlisten = events.listen(
    ({ id, name, data }) => send(`id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`),
    after,
  );
  response.once('close', () => {
    clearInterval(heartbeat);
    unlisten();
  });
  return () => response.end();
}
