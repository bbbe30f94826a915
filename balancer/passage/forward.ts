// Carries one attempt to one worker and tells how it ended. The only file that knows http-proxy.
//
// http-proxy 1.18.1 has known faults: chunked DELETE smuggles (CVE-2026-29057's class), `Trailer` crashes, clients that
// leave leak sockets, workers that die half-way hang the client. None can happen here, because it never sees a client:
// it gets a request of our own making (POST, GET or HEAD, exact Content-Length, headers of ours), gives us its
// ClientRequest, and everything after that (answer, truncation, deadline, settling once) is ours.

import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import type HttpProxy from 'http-proxy';
import { HEADERS } from '../../config/contract.ts';

/** Where a worker is reached. */
export interface Target {
  readonly origin: string;
  readonly protocol: 'http:' | 'https:';
  /** Without brackets, also for IPv6. */
  readonly hostname: string;
  readonly port: number;
}

/** One try of one request on one worker. */
export interface Attempt {
  readonly target: Target;
  readonly method: 'POST' | 'GET' | 'HEAD';
  /** Path and query, made by us. */
  readonly path: string;
  /** Made by us; the engine adds Host, Connection and Content-Length. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** After this many ms the outcome is `timeout`; the exchange itself goes on, since inference cannot be cancelled. */
  readonly patienceMs: number;
  /** An answer beyond this is rubbish. */
  readonly maxAnswerBytes: number;
  /** Never reuse a connection for this attempt. */
  readonly fresh: boolean;
  /** Called once: `told` at the worker's `102 Processing`, else `ended` when the exchange has ended. */
  readonly onSlotFree: (why: 'told' | 'ended') => void;
}

/** How one attempt ended. */
export type Outcome =
  /** A whole answer, checked against its length. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: http.IncomingHttpHeaders;
      readonly body: Buffer;
    }
  /** The worker's slot was taken. */
  | { readonly kind: 'busy' }
  /** The worker is leaving. */
  | { readonly kind: 'draining' }
  /** The connection was not made, or it ended before the answer was whole. */
  | {
      readonly kind: 'lost';
      readonly phase: 'connect' | 'sent' | 'answering';
      readonly reusedSocket: boolean;
      /** Whether the worker had told that its slot is free, so the picture had been drawn. */
      readonly slotFreed: boolean;
      /** Ms since the connection had the request. */
      readonly afterMs: number;
      readonly cause: unknown;
    }
  /** The deadline is past. */
  | { readonly kind: 'timeout' }
  /** Something came, but no answer that may be passed on. */
  | { readonly kind: 'rubbish'; readonly why: string };

/** An attempt under way. */
export interface Exchange {
  readonly outcome: Promise<Outcome>;
  /** Until the connection had the request; undefined while, and if, it never had. */
  connectMs(): number | undefined;
  /** Ends the exchange now, because its worker is known to be dead: the outcome becomes `lost`. */
  cut(cause: Error): void;
}

/** What the journey knows of forwarding. The contract test runs against every engine that implements it. */
export interface Forwarder {
  send(attempt: Attempt): Exchange;
  /** Closes idle connections. */
  close(): void;
}

/** Starts the request of one attempt, body included, and gives its ClientRequest to `carry` before it returns. */
export type Engine = (
  attempt: Attempt,
  agent: http.Agent,
  carry: (request: http.ClientRequest) => void,
) => void;

/** How long a connection may take to be made. */
const CONNECT_MS = 1000;
/** Idle connections are given up before a plain Node worker (5 s) would close them, so that the race stays rare. */
const IDLE_MS = 4000;
/** An exchange that outlives its deadline by this is destroyed: its worker hangs, and its slot may be tried again. */
const HANG_MS = 60_000;

/** A forwarder over an engine; http-proxy unless a test brings another. */
export function createForwarder(engine: Engine = httpProxyEngine()): Forwarder {
  // Sockets are not capped: the pool counts slots exactly, and a cap would only hide a second queue.
  const options = { keepAlive: true, maxFreeSockets: 64, timeout: IDLE_MS, scheduling: 'lifo' } as const;
  const agents = {
    'http:': new http.Agent(options),
    'https:': new https.Agent(options),
  };
  const freshAgents = {
    'http:': new http.Agent({ keepAlive: false }),
    'https:': new https.Agent({ keepAlive: false }),
  };
  return {
    send: (attempt) =>
      conduct(engine, attempt, (attempt.fresh ? freshAgents : agents)[attempt.target.protocol]),
    close() {
      for (const agent of [...Object.values(agents), ...Object.values(freshAgents)]) agent.destroy();
    },
  };
}

/** http-proxy as an engine: one shim of a request and of a response for each attempt, and the body as its `buffer`. */
export function httpProxyEngine(): Engine {
  const proxy = loadHttpProxy().createProxyServer({});
  // Without a listener it would throw. Errors are heard on the ClientRequest itself, so nothing is missed here.
  proxy.on('error', () => {});
  return ({ target, method, path, headers, body }, agent, carry) => {
    const request = {
      method,
      url: path,
      headers: body === undefined ? headers : { ...headers, 'content-length': String(body.length) },
      socket: { destroyed: false },
      connection: {},
      on() {},
    };
    const response = { headersSent: false, finished: false };
    // http-proxy pipes `buffer` into its ClientRequest. This one hands over the request and ends it in one write.
    const source = {
      pipe(outgoing: http.ClientRequest) {
        carry(outgoing);
        outgoing.end(body);
      },
    };
    proxy.web(
      request as unknown as http.IncomingMessage,
      response as unknown as http.ServerResponse,
      {
        target: {
          protocol: target.protocol,
          host: target.hostname,
          hostname: target.hostname,
          port: target.port,
        } as unknown as HttpProxy.ProxyTargetUrl,
        agent,
        buffer: source as unknown as NodeJS.ReadableStream as never,
        selfHandleResponse: true,
        prependPath: false,
        toProxy: true,
      },
      () => {},
    );
  };
}

/** http-proxy, loaded so that its `util._extend` does not warn (DEP0060) on newer versions of Node. */
function loadHttpProxy(): typeof HttpProxy {
  const require = createRequire(import.meta.url);
  const util = require('node:util') as { _extend: unknown };
  const original = util._extend;
  util._extend = Object.assign;
  try {
    return require('http-proxy') as typeof HttpProxy;
  } finally {
    util._extend = original;
  }
}

/** Conducts one exchange to its end: phases, timers, the whole answer, one outcome, one slot given back. */
function conduct(engine: Engine, attempt: Attempt, agent: http.Agent): Exchange {
  let settle: (outcome: Outcome) => void = () => {};
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  let request: http.ClientRequest | undefined;
  let phase: 'connect' | 'sent' | 'answering' = 'connect';
  let reusedSocket = false;
  let slotFreed = false;
  const startedAt = performance.now();
  let sentAt = startedAt;
  let settled = false;
  let ended = false;
  let connectTimer: NodeJS.Timeout | undefined;
  let hangTimer: NodeJS.Timeout | undefined;

  const finish = (result: Outcome) => {
    if (settled) return;
    settled = true;
    settle(result);
  };
  const freeSlot = (why: 'told' | 'ended') => {
    if (slotFreed) return;
    slotFreed = true;
    attempt.onSlotFree(why);
  };
  const end = () => {
    if (ended) return;
    ended = true;
    clearTimeout(connectTimer);
    clearTimeout(patienceTimer);
    clearTimeout(hangTimer);
    freeSlot('ended');
  };
  const lose = (cause: unknown) => {
    if (ended) return;
    const afterMs = phase === 'connect' ? 0 : performance.now() - sentAt;
    finish({ kind: 'lost', phase, reusedSocket, slotFreed, afterMs, cause });
    request?.destroy();
    end();
  };
  const reject = (why: string) => {
    if (ended) return;
    finish({ kind: 'rubbish', why });
    request?.destroy();
    end();
  };
  const patienceTimer = setTimeout(
    () => {
      finish({ kind: 'timeout' });
      if (phase === 'connect') lose(new Error('not connected before the deadline'));
      else hangTimer = setTimeout(() => lose(new Error('hung beyond its deadline')), HANG_MS);
      hangTimer?.unref();
    },
    Math.max(1, attempt.patienceMs),
  );

  const onResponse = (response: http.IncomingMessage) => {
    phase = 'answering';
    const admission = response.statusCode === 503 ? response.headers[HEADERS.admission] : undefined;
    const { 'content-length': length, 'transfer-encoding': coding } = response.headers;
    const bodyless = attempt.method === 'HEAD' || response.statusCode === 304 || response.statusCode === 204;
    const chunks: Buffer[] = [];
    let bytes = 0;

    response.on('error', lose);
    if (admission === 'busy' || admission === 'draining') {
      // The words are in the header; the connection stays usable once the rest has been read.
      finish({ kind: admission });
      response.on('end', end);
      response.resume();
      return;
    }
    if (!bodyless && length === undefined && coding === undefined)
      return reject('an answer whose end cannot be told from a lost connection');
    if (!bodyless && Number(length ?? 0) > attempt.maxAnswerBytes)
      return reject(`an answer of ${length} bytes`);
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > attempt.maxAnswerBytes) reject(`an answer of more than ${attempt.maxAnswerBytes} bytes`);
      else if (!settled) chunks.push(chunk);
    });
    response.on('end', () => {
      if (!response.complete) return lose(new Error('the answer was cut short'));
      if (!bodyless && length !== undefined && Number(length) !== bytes)
        return reject(`an answer of ${bytes} bytes that promised ${length}`);
      const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes);
      finish({
        kind: 'answer',
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: settled ? Buffer.alloc(0) : body,
      });
      end();
    });
  };

  const carry = (outgoing: http.ClientRequest) => {
    request = outgoing;
    outgoing.on('error', lose);
    outgoing.on('close', () => lose(new Error('the connection closed without an answer')));
    outgoing.on('information', ({ statusCode }) => {
      if (statusCode === 102) freeSlot('told');
    });
    outgoing.on('upgrade', (_response, socket) => {
      socket.destroy();
      reject('an upgrade');
    });
    outgoing.on('response', onResponse);
    outgoing.on('socket', (socket) => {
      reusedSocket = outgoing.reusedSocket;
      const connected = () => {
        clearTimeout(connectTimer);
        phase = 'sent';
        sentAt = performance.now();
      };
      if (!socket.connecting) return connected();
      connectTimer = setTimeout(() => lose(new Error(`no connection within ${CONNECT_MS} ms`)), CONNECT_MS);
      socket.once(attempt.target.protocol === 'https:' ? 'secureConnect' : 'connect', connected);
    });
  };

  try {
    engine(attempt, agent, carry);
  } catch (error) {
    // A header that Node refuses to write, for instance: our fault, not the worker's.
    reject(`the request could not be written: ${(error as Error).message}`);
  }
  return { outcome, connectMs: () => (phase === 'connect' ? undefined : sentAt - startedAt), cut: lose };
}
