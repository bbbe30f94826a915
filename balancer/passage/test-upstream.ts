// For tests: tiny real workers whose every step a test decides, and a balancer in front of them on free ports.
// Tests wait for what happened here ("two requests have arrived"), never for time.

import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { Style } from '../../config/contract.ts';
import { loadSettings } from '../../config/load.ts';
import type { Log } from '../../ops/process/log.ts';
import { createBalancer } from '../balancer.ts';

export { rawExchange } from '../../ops/process/test-wire.ts';

/** A request that reached a test upstream. */
export interface Arrival {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
}

export type Behaviour = (arrival: Arrival) => void;

export const STYLE: Style = {
  id: 'meadow',
  title: 'Meadow',
  model: 'meadow',
  licence: 'Apache-2.0',
  thumbnail_url: null,
  aliases: ['hayao_64'],
  default: true,
};

/** The smallest picture that passes the balancer: a PNG header of 64×64 px, and a tail that makes it unlike others. */
export function picture(tail: Buffer | string = '', side = 64): Buffer {
  const head = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
  const size = Buffer.alloc(8);
  size.writeUInt32BE(side, 0);
  size.writeUInt32BE(side, 4);
  return Buffer.concat([head, size, Buffer.from('0802000000', 'hex'), Buffer.from(tail)]);
}

/** Answers like a worker: the picture's own bytes back, so that a test sees what arrived. */
export const echo: Behaviour = ({ body, response }) => {
  response.writeHead(200, {
    'content-type': 'image/png',
    'content-length': body.length,
    'server-timing': 'decode;dur=1.0, infer;dur=2.0, encode;dur=3.0',
    'x-style': 'meadow',
    'x-model': 'abc; variant=full',
    'x-node': 'vm-test',
  });
  response.end(body);
};

/** A worker that a test plays. */
export class TestUpstream {
  /** What it does with a picture. */
  behaviour: Behaviour = echo;
  /** What it says to `GET /ready`; undefined leaves the check without an answer. */
  ready: { status: number; body: object } | undefined = {
    status: 200,
    body: { status: 'ready', node: 'vm-test' },
  };
  styles: readonly Style[] = [STYLE];
  /** Every picture request so far. */
  readonly arrivals: Arrival[] = [];
  /** Pictures in its hands now, and the most there ever were. */
  holding = 0;
  mostHeld = 0;
  readonly server = http.createServer((request, response) => void this.#take(request, response));
  readonly #watchers = new Set<() => void>();
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async listen(port = 0): Promise<this> {
    this.server.keepAliveTimeout = 60_000;
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    this.#port = (this.server.address() as AddressInfo).port;
    return this;
  }

  /** Resolves when so many pictures have arrived in all. */
  async arrived(count: number): Promise<Arrival> {
    while (this.arrivals.length < count)
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    const arrival = this.arrivals[count - 1];
    if (!arrival) throw new Error('unreachable');
    return arrival;
  }

  /** Dies like a killed process: nobody listens, and every connection is reset. */
  async die(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      net.Server.prototype.close.call(this.server, () => resolve());
    });
    for (const socket of this.#sockets) {
      // Node 20 leaks the handle of a socket that is reset while it is being shut down.
      if (socket.writableEnded) socket.destroy();
      else if (!socket.destroyed) socket.resetAndDestroy();
    }
    await closed;
  }

  readonly #sockets = new Set<net.Socket>();

  async #take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    request.on('error', () => {});
    if (request.url === '/ready') {
      if (this.ready) json(response, this.ready.status, this.ready.body);
      return;
    }
    if (request.url === '/v1/styles') return json(response, 200, { styles: this.styles });
    this.holding += 1;
    this.mostHeld = Math.max(this.mostHeld, this.holding);
    response.once('close', () => {
      this.holding -= 1;
    });
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const arrival = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      body: Buffer.concat(chunks),
      request,
      response,
    };
    this.arrivals.push(arrival);
    this.behaviour(arrival);
    for (const watcher of [...this.#watchers]) watcher();
  }

  constructor() {
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }
}

function json(response: http.ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

/** A test upstream that ends with its test. */
export async function startUpstream(
  context: TestContext,
  behaviour: Behaviour = echo,
): Promise<TestUpstream> {
  const upstream = await new TestUpstream().listen();
  upstream.behaviour = behaviour;
  context.after(async () => {
    if (upstream.server.listening) await upstream.die();
  });
  return upstream;
}

/** Lines of the log as objects. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** A balancer in front of upstreams; resolves when it knows all of them ready. */
export async function startBalancer(
  context: TestContext,
  upstreams: readonly (TestUpstream | { readonly url: string; readonly slots?: number })[],
  env: Readonly<Record<string, string>> = {},
  expectUsable = upstreams.length,
) {
  const settings = loadSettings({
    cwd: '/nowhere',
    env: {
      TOONFLEET_UPSTREAMS: JSON.stringify(
        upstreams.map((upstream) => ({ url: upstream.url, slots: 'slots' in upstream ? upstream.slots : 1 })),
      ),
      TOONFLEET_BALANCER__CHECK_INTERVAL: '50ms',
      TOONFLEET_BALANCER__CHECK_TIMEOUT: '500ms',
      TOONFLEET_NODE__NAME: 'front',
      ...(upstreams.length === 0 && env.TOONFLEET_NODES === undefined
        ? { TOONFLEET_NODES: JSON.stringify([{ agent: await refusedOrigin() }]) }
        : {}),
      ...env,
    },
  });
  const lines: LogLine[] = [];
  const watchers = new Set<() => void>();
  const note = (level: string) => (fields: object, message: string) => {
    lines.push({ ...fields, level, message });
    for (const watcher of [...watchers]) watcher();
  };
  const log: Log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
  const balancer = createBalancer({
    settings,
    version: '0.0.0',
    name: 'front-1',
    site: {
      owns: (path) => path === '/',
      answer: (method, path) =>
        path === '/'
          ? {
              status: 200,
              headers: { 'content-type': 'text/html', 'content-length': '4' },
              body: Buffer.from(method === 'HEAD' ? '' : 'page'),
            }
          : undefined,
    },
    log,
    now: () => performance.now(),
    // Of equal upstreams, the last one listed is chosen.
    random: () => 0,
  });
  await balancer.roster.start();
  const { port } = await balancer.publicServer.listen(0, '127.0.0.1');
  context.after(() => {
    balancer.publicServer.stopAccepting();
    balancer.publicServer.closeAll();
    balancer.roster.close();
    balancer.prober.close();
    balancer.forwarder.close();
    return balancer.cache.close();
  });

  /** Resolves with the first log line, old or new, for which `fits` holds. */
  const logged = async (fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> => {
    for (;;) {
      const found = lines.slice(from).find(fits);
      if (found) return found;
      await new Promise<void>((resolve) => {
        const watcher = () => {
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
      });
    }
  };
  const usable = () => [...balancer.pool.upstreams()].filter(({ state }) => state.kind === 'up').length;
  const knowing = () =>
    [...balancer.pool.upstreams()].filter(({ state, styles }) => state.kind === 'up' && styles).length;
  while (usable() < expectUsable || knowing() < expectUsable)
    await new Promise<void>((resolve) => setImmediate(resolve));
  return { ...balancer, port, url: `http://127.0.0.1:${port}`, lines, logged, settings };
}
export type TestBalancer = Awaited<ReturnType<typeof startBalancer>>;

/** An origin where nobody listens: a port that was just ours. */
export async function refusedOrigin(): Promise<string> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  return `http://127.0.0.1:${port}`;
}
