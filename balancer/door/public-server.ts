// The public port: strict HTTP settings, answers to what never becomes a request, and an ordered way out.
// What a request means is the journey's business.

import { randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import { canonicalAddress, networkOf } from '../../config/address.ts';
import { HEADERS } from '../../config/contract.ts';
import { clientErrorCode, ERRORS, renderError, ToonError } from '../../config/errors.ts';
import type { Journey } from '../passage/journey.ts';
import { type Connection, Connections } from './connections.ts';

/** Read back by a test; each figure with its reason in the line. */
export const HTTP_SETTINGS = {
  /** A head that trickles in is cut after this. */
  headersTimeout: 10_000,
  /** Uploads have a timer of their own, with a rate (`upload.ts`). */
  requestTimeout: 0,
  /** Node looks every 30 s by default, which would make 10 s up to 40. */
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8 * 1024,
  keepAliveTimeout: 10_000,
  /** We answer a missing Host ourselves, in the shape of the path. */
  requireHostHeader: false,
  insecureHTTPParser: false,
} as const;

/** TLS as of 1.2 with forward secrecy alone: what every browser since 2014 and every current HTTP library speaks. */
export const TLS_SETTINGS = {
  minVersion: 'TLSv1.2',
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ].join(':'),
  // The client knows better than we whether it computes AES in hardware.
  honorCipherOrder: false,
} as const satisfies SecureContextOptions;
/** Node waits two minutes for a handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 2000;
const MAX_REQUESTS_PER_SOCKET = 1000;

/** Who may hold how many of a port's connections. */
export interface Doorkeeping {
  /** How many there may be at once. */
  readonly most?: number;
  /** Whether an address is a trusted proxy's. */
  readonly isProxy?: (address: string) => boolean;
}

export interface PublicServer {
  listen(port: number, host: string): Promise<AddressInfo>;
  /** Stops accepting; what is under way goes on, idle connections stay open. */
  stopAccepting(): void;
  closeAll(): void;
  /** How many connections are open. */
  connections(): Promise<number>;
}

/** A certificate with its chain, and its key, as PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** A public port that speaks TLS. */
export interface SecureServer extends PublicServer {
  /** Handshakes from now on get this certificate; connections that exist keep theirs. */
  renew(pair: KeyPair): void;
}

/** Requests without an answer, by connection: a broken byte behind them must not be answered in their place. */
type UnderWay = WeakMap<Socket, Set<{ request: http.IncomingMessage; response: http.ServerResponse }>>;

/** The plain port. */
export function createPublicServer(journey: Journey, doorkeeping: Doorkeeping = {}): PublicServer {
  return serve(http.createServer(HTTP_SETTINGS), journey, 'balancer.port', doorkeeping);
}

/** The HTTPS port; otherwise the same. */
export function createSecureServer(
  journey: Journey,
  { cert, key }: KeyPair,
  doorkeeping: Doorkeeping = {},
): SecureServer {
  const server = https.createServer({
    ...HTTP_SETTINGS,
    ...TLS_SETTINGS,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    ALPNProtocols: ['http/1.1'],
    cert,
    key,
  });
  return {
    ...serve(server, journey, 'balancer.tls.port', doorkeeping),
    renew: (pair) => server.setSecureContext({ ...TLS_SETTINGS, cert: pair.cert, key: pair.key }),
  };
}

function serve(
  server: http.Server | https.Server,
  journey: Journey,
  setting: string,
  doorkeeping: Doorkeeping,
): PublicServer {
  const underWay: UnderWay = new WeakMap();
  const atWork = keepDoor(server, doorkeeping);
  const take = (request: http.IncomingMessage, response: http.ServerResponse, awaitsContinue = false) => {
    const { socket } = request;
    response.once('close', atWork(socket));
    const set = underWay.get(socket) ?? new Set();
    if (!underWay.has(socket)) socket.once('close', () => endUnbegun([...set]));
    underWay.set(socket, set);
    const pair = { request, response };
    set.add(pair);
    response.once('close', () => set.delete(pair));
    void journey.handle(request, response, awaitsContinue);
  };

  server.on('request', (request, response) => take(request, response));
  // Counted by the journey, which answers 431; Node would silently leave out what is beyond.
  server.maxHeadersCount = 0;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_SOCKET;
  server.on('checkContinue', (request, response) => take(request, response, true));
  server.on('checkExpectation', (request: http.IncomingMessage, response: http.ServerResponse) => {
    const { status, headers, body } = renderError(new ToonError('expectation_failed'), 'plain', randomUUID());
    request.resume();
    response.writeHead(status, { ...headers, connection: 'close' }).end(body);
  });
  server.on('connect', (_request, socket) =>
    answerRaw(
      socket as Socket,
      new ToonError('method_not_allowed', { allow: ['GET', 'HEAD', 'POST', 'OPTIONS'] }),
    ),
  );
  const refused = new WeakSet<Socket>();
  /** TLS connections whose handshake succeeded; to the others there is no way to say anything. */
  const shaken = new WeakSet<Socket>();
  server.on('secureConnection', (socket: TLSSocket) => shaken.add(socket));
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    if (refused.has(socket)) return;
    refused.add(socket);
    const waiting = [...(underWay.get(socket) ?? [])];
    // Who asked for the last answer and went on sending has that answer coming, and then the end; the rest is no request.
    if (error.code === 'HPE_CLOSED_CONNECTION' && waiting.length > 0) return;
    const [first] = waiting;
    const answerable =
      waiting.length === 0 ||
      (waiting.length === 1 && !first?.request.complete && !first?.response.headersSent);
    const speechless = socket instanceof TLSSocket && !shaken.has(socket);
    if (!socket.writable || error.code === 'ECONNRESET' || !answerable || speechless) socket.destroy();
    else answerRaw(socket, new ToonError(clientErrorCode(error)));
  });

  return {
    listen: (port, host) => listen(server, port, host, setting),
    // http's own close() also closes idle connections at once, while a client may be writing to one.
    stopAccepting: () => void net.Server.prototype.close.call(server),
    closeAll: () => server.closeAllConnections(),
    connections: () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      }),
  };
}

/**
 * Lets connections in, as many as there may be. Returns how to tell that one has a request now, which returns how to tell
 * that the request has ended.
 */
function keepDoor(
  server: http.Server | https.Server,
  { most = MAX_CONNECTIONS, isProxy = () => false }: Doorkeeping,
): (socket: Socket) => () => void {
  const connections = new Connections(most);
  /** Requests under way. By the ends' names, since within TLS a request knows another socket than the one that came. */
  const requests = new Map<string, { count: number }>();
  const endsOf = ({ remoteAddress, remotePort, localAddress }: Socket) =>
    `${remoteAddress} ${remotePort} ${localAddress}`;
  server.on('connection', (socket: Socket) => {
    const ends = endsOf(socket);
    const work = { count: 0 };
    const address = canonicalAddress(socket.remoteAddress ?? '') ?? 'unknown';
    const connection: Connection = {
      network: networkOf(address, { v4: 32, v6: 64 }),
      spared: isProxy(address),
      busy: () => work.count > 0,
      close: () => socket.destroy(),
    };
    if (!connections.admit(connection)) {
      socket.destroy();
      return;
    }
    requests.set(ends, work);
    socket.once('close', () => {
      connections.leave(connection);
      if (requests.get(ends) === work) requests.delete(ends);
    });
  });
  return (socket) => {
    const work = requests.get(endsOf(socket)) ?? { count: 0 };
    work.count += 1;
    return () => {
      work.count -= 1;
    };
  };
}

/**
 * A pipelined answer whose turn to be written had not come when its connection ended: Node tells nobody, and all that
 * waits for its end (memory, limits, a place in line) would be lost with it.
 */
function endUnbegun(pairs: readonly { readonly response: http.ServerResponse }[]): void {
  for (const { response } of pairs) {
    if (response.socket !== null) continue;
    response.destroy();
    response.emit('close');
  }
}

/** How long a connection is still read after a raw refusal, so that the answer is not lost in a reset. */
const LINGER_MS = 500;

/** Answers what never became a request, and closes. Its path is unknown, so the shape is the plain one. */
function answerRaw(socket: Socket, error: ToonError): void {
  const id = randomUUID();
  const { status, headers, body } = renderError(error, 'plain', id);
  const lines = Object.entries({
    ...headers,
    [HEADERS.requestId]: id,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${status} ${http.STATUS_CODES[ERRORS[error.code].status]}\r\n${lines.join('')}\r\n${body}`,
  );
  // What still comes is thrown away; a client that has read the answer closes, and then so do we.
  socket.on('data', () => {});
  socket.resume();
  socket.once('end', () => socket.destroy());
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Listens, or says which setting names the port that is taken. */
export function listen(
  server: net.Server,
  port: number,
  host: string,
  setting: string,
): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const variable = `TOONFLEET_${setting.toUpperCase().replaceAll('.', '__')}`;
      const fault =
        error.code === 'EADDRINUSE'
          ? `port ${port} on ${host} is in use by another process`
          : `cannot listen on port ${port} of ${host} (${error.code})`;
      reject(
        new Error(`${setting}: ${fault}; choose another one, for instance ${variable}=${port + 1000}`, {
          cause: error,
        }),
      );
    });
    server.listen({ port, host, backlog: 1024 }, () => resolve(server.address() as AddressInfo));
  });
}
