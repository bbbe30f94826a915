// The agent's paths: workers announce themselves, balancers read the roster, Prometheus reads the node. Does not listen.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { AggregatorRegistry } from 'prom-client';
import type { z } from 'zod';
import {
  HEADERS,
  INTERNAL_PATHS,
  isRequestId,
  type LogReply,
  logQuerySchema,
  type NodeDrain,
  nodeScaleWishSchema,
  PATHS,
  parseLoad,
  workerReportSchema,
} from '../../config/contract.ts';
import { errorShapeOf, renderError, ToonError, toToonError } from '../../config/errors.ts';
import { readJsonBody } from '../process/json-body.ts';
import { readLogs } from '../process/log-files.ts';
import { passesNodeKey } from '../process/node-key.ts';
import { isOwnAddress } from '../process/own-address.ts';
import type { Tally } from './aggregate.ts';
import type { BalancerLoads } from './balancer-load.ts';
import type { Drain } from './drain.ts';
import type { NodeIdentity, Roster } from './roster.ts';
import type { Scaler } from './scaler.ts';
import { statsText } from './stats.ts';
import type { Watch, WatchParts } from './watch.ts';

/** What the paths need. */
export interface AgentParts extends WatchParts {
  readonly node: NodeIdentity;
  readonly key: string | undefined;
  readonly roster: Roster;
  readonly loads: BalancerLoads;
  readonly scaler: Scaler;
  readonly tally: Tally;
  readonly watch: Watch;
  readonly drain: Drain;
  /** Where this machine's processes write their logs. */
  readonly logFolder: string;
  /** What `toonfleet doctor` says of this machine, as its JSON. */
  readonly doctor: () => Promise<unknown>;
}

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

/** The agent as a request listener. */
export function createAgentApp(parts: AgentParts): RequestListener {
  const { roster, tally, watch, node } = parts;

  const routes: Record<string, Record<string, Handler>> = {
    [PATHS.live]: { GET: (_request, response) => sendJson(response, { status: 'live' }) },
    [INTERNAL_PATHS.node]: {
      GET(request, response) {
        const { version } = roster;
        const balancer = request.headers[HEADERS.balancer];
        // Given means sent, not begun: a roster that got lost on its way told nobody anything.
        if (typeof balancer === 'string' && balancer.length <= 100) {
          response.on('finish', () => roster.given(balancer, version, Date.now()));
          const load = parseLoad(request.headers[HEADERS.load]);
          if (load) parts.loads.hear(balancer, load, Date.now());
        }
        sendJson(response, roster.view(node, parts.scaler.status()));
      },
    },
    [INTERNAL_PATHS.announce]: {
      async PUT(request, response) {
        refuseStrangers(request);
        const report = parse(workerReportSchema, await readJsonBody(request), 'is not a worker report');
        if (roster.announce(report, Date.now())) {
          parts.log.info({ worker: report.id, worker_pid: report.pid, url: report.url }, 'worker came');
          parts.changed();
        }
        sendJson(response, {
          seen: roster.seen(report.id, Date.now()),
          ...(report.tired && { may_rest: mayRest(parts, report.id) }),
        });
      },
      async DELETE(request, response, url) {
        refuseStrangers(request);
        await watch.goodbye(url.searchParams.get('id') ?? idIn(await readJsonBody(request)));
        response.writeHead(204).end();
      },
    },
    [INTERNAL_PATHS.nodeDrain]: {
      GET: async (_request, response) => sendJson(response, await drainOf(parts)),
      PUT: async (_request, response) => sendJson(response, await turnDrain(parts, true)),
      DELETE: async (_request, response) => sendJson(response, await turnDrain(parts, false)),
    },
    [INTERNAL_PATHS.logs]: {
      async GET(request, response, url) {
        refuseUnlessTrusted(request, parts.key);
        const reply = await readLogs(
          parts.logFolder,
          parse(logQuerySchema, Object.fromEntries(url.searchParams), 'cannot be read', 'query'),
        );
        sendJson(response, { node: node.node, ...reply } satisfies LogReply);
      },
    },
    [INTERNAL_PATHS.doctor]: {
      async GET(request, response) {
        refuseUnlessTrusted(request, parts.key);
        sendJson(response, await parts.doctor());
      },
    },
    [INTERNAL_PATHS.nodeScale]: {
      GET: (_request, response) => sendJson(response, parts.scaler.status()),
      async PUT(request, response) {
        refuseUnlessTrusted(request, parts.key);
        const wish = parse(nodeScaleWishSchema, await readJsonBody(request), 'is not a number of workers');
        sendJson(response, parts.scaler.want(wish.workers));
      },
    },
    [INTERNAL_PATHS.metrics]: {
      async GET(_request, response) {
        await watch.look();
        const own = await parts.metrics.registry.getMetricsAsJSON();
        const registry = AggregatorRegistry.aggregate([tally.sum(), own]);
        response.writeHead(200, { 'content-type': registry.contentType });
        response.end(await registry.metrics());
      },
    },
    [INTERNAL_PATHS.stats]: {
      async GET(request, response) {
        await watch.look();
        const stats = watch.stats();
        if (/\bapplication\/json\b/.test(request.headers.accept ?? '')) {
          sendJson(response, { node: node.node, ...stats });
        } else {
          response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
          response.end(statsText(node.node, stats));
        }
      },
    },
  };
  /** Supervisors and Prometheus know no key, and these tell nothing that would need one. */
  const open = new Set<string>([PATHS.live, INTERNAL_PATHS.metrics, INTERNAL_PATHS.stats]);

  return (request, response) => {
    const url = new URL(request.url ?? '/', 'http://agent');
    const answer = async () => {
      if (!open.has(url.pathname) && !passesNodeKey(parts.key, request.headers))
        throw new ToonError('unauthorized');
      const methods = routes[url.pathname];
      if (!methods) throw new ToonError('not_found');
      const handler = methods[request.method ?? ''];
      if (!handler) throw new ToonError('method_not_allowed', { allow: Object.keys(methods) });
      await handler(request, response, url);
    };
    answer().catch((error: unknown) => {
      if (response.closed) return;
      const failure = toToonError(error);
      if (failure.code === 'internal_error') parts.log.error({ error, path: url.pathname }, 'request failed');
      if (response.headersSent) return void response.destroy();
      const given = request.headers[HEADERS.requestId];
      const id = typeof given === 'string' && isRequestId(given) ? given : randomUUID();
      const { status, headers, body } = renderError(failure, errorShapeOf(url.pathname), id);
      response.writeHead(status, { ...headers, [HEADERS.requestId]: id, connection: 'close' }).end(body);
    });
  };
}

/** Lets a tired worker go unless somebody else is coming or going; from then on others wait for its successor. */
function mayRest({ roster, scaler }: AgentParts, id: string): boolean {
  const may = scaler.idle && roster.mayRest(id, scaler.fullHouse, Date.now());
  if (may) roster.resting(Date.now());
  return may;
}

/** Drains the node or puts it back to work: kept first, then shown to the balancers. */
function turnDrain(parts: AgentParts, draining: boolean): Promise<NodeDrain> {
  const { drain, roster, log } = parts;
  if (drain.wanted !== draining)
    log.info({ draining }, draining ? 'the node is drained' : 'the node works again');
  drain.want(draining, new Date());
  roster.drain(draining);
  return drainOf(parts);
}

/** Asks the workers afresh: their heartbeats may be a second old. */
async function drainOf({ roster, ask }: AgentParts): Promise<NodeDrain> {
  const busy = await Promise.all(
    roster.reports().map(async (worker) => {
      const probe = await ask.report(worker);
      switch (probe.kind) {
        case 'answered':
          return probe.report.busy;
        case 'refused':
          return 0;
        case 'silent':
          return worker.busy;
      }
    }),
  );
  return {
    draining: roster.draining,
    seen: roster.drainSeen(Date.now()),
    busy: busy.reduce((sum, each) => sum + each, 0),
  };
}

/** Only processes of this very machine may put themselves on its roster, key or no key. */
function refuseStrangers(request: IncomingMessage): void {
  if (!isOfThisMachine(request))
    throw new ToonError('unauthorized', { detail: 'Only workers of this node announce themselves here.' });
}

/** Logs name clients and folders: without a node key only this very machine may read them. */
function refuseUnlessTrusted(request: IncomingMessage, key: string | undefined): void {
  if (key === undefined && !isOfThisMachine(request))
    throw new ToonError('unauthorized', {
      detail: 'Without a node key this is told to programs of this machine only; set node.key.',
    });
}

/** What proxies leave in what they pass on. */
const PROXIED = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'] as const;

/** A proxy that runs here has an address of this machine; who asks it may be anybody. */
function isOfThisMachine({ socket, headers }: IncomingMessage): boolean {
  if (PROXIED.some((name) => headers[name] !== undefined)) return false;
  return isOwnAddress((socket.remoteAddress ?? '').replace(/^::ffff:/, ''));
}

function parse<T>(schema: z.ZodType<T>, value: unknown, otherwise: string, what = 'body'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ToonError('bad_request', {
    detail: `${issue?.path.join('.') || what}: ${issue?.message ?? otherwise}.`,
  });
}

function idIn(body: unknown): string {
  if (typeof body === 'object' && body !== null && 'id' in body && typeof body.id === 'string')
    return body.id;
  throw new ToonError('bad_request', { detail: 'id: a goodbye says whose it is.' });
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
