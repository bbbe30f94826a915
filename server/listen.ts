// The sockets of a worker: the node's shared port and a port of its own, both in front of one app.
// Knows how to leave a port without cutting anybody off. The only file that makes http servers.

import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { clientErrorCode, renderError, ToonError } from '../config/errors.ts';

/** A port that is being listened on. */
export interface Listening {
  readonly port: number;
  /** Takes no new connections; those that exist live on. */
  stopAccepting(): void;
  /** Settles when the last connection is gone. */
  readonly empty: Promise<void>;
  /** Closes connections that have no request under way. */
  closeIdle(): void;
  /** Closes all connections. */
  closeAll(): void;
}

/** Where to listen. */
export interface ListenTarget {
  readonly host: string;
  readonly port: number;
  /** True for a port of this process alone, also in a PM2 cluster. */
  readonly exclusive: boolean;
}

/**
 * Every limit set by hand: Node's own are too patient with slow clients, and its keep-alive of 5 s is as long as common
 * agents', which makes requests race against the closing of their connection.
 */
export const HTTP_SETTINGS = {
  keepAliveTimeout: 75_000,
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8 * 1024,
  requireHostHeader: true,
  insecureHTTPParser: false,
} as const;

/** Makes a server with those settings. */
export function createHttpServer(app: RequestListener): Server {
  const server = createServer(HTTP_SETTINGS, app);
  server.maxHeadersCount = 100;
  server.maxConnections = 2000;
  server.maxRequestsPerSocket = 1000;
  // The app itself says "continue", once it knows that it will read the body.
  server.on('checkContinue', app);
  server.on('checkExpectation', (_request, response: ServerResponse) => {
    const { status, headers, body } = renderError(new ToonError('expectation_failed'), 'plain', 'none');
    response.writeHead(status, { ...headers, connection: 'close' }).end(body);
  });
  server.on('clientError', answerGarbage);
  return server;
}

/** What Node's parser refuses is answered here, since no app ever sees it. */
function answerGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  // Bytes that were written may belong to an answer under way; a second one would be taken for its middle.
  if (!socket.writable || socket.bytesWritten > 0 || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const code = clientErrorCode(error);
  const { status, headers, body } = renderError(new ToonError(code), 'plain', 'none');
  const lines = Object.entries({
    ...headers,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  socket.end(
    `HTTP/1.1 ${status} ${code}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  );
}

/** Listens. Rejects with the error of the socket, such as EADDRINUSE. */
export function listen(app: RequestListener, target: ListenTarget): Promise<Listening> {
  const server = createHttpServer(app);
  let stopped = false;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(target, () => {
      server.off('error', reject);
      resolve({
        port: (server.address() as AddressInfo).port,
        stopAccepting() {
          if (stopped) return;
          stopped = true;
          // Not http's own close(): that one also closes idle keep-alive connections at once, into which a client may be
          // writing its next request (measured: 11 resets in 2256 requests over two reloads; nodejs/node#60617).
          NetServer.prototype.close.call(server);
        },
        empty: new Promise((gone) => server.once('close', gone)),
        closeIdle: () => server.closeIdleConnections(),
        closeAll: () => server.closeAllConnections(),
      });
    });
  });
}

/**
 * Listens on the first free port of a range, for this process alone. A reload holds old and new workers side by side, so
 * no worker has a fixed place.
 */
export async function listenOnFirstFree(
  app: RequestListener,
  { host, first, last }: { host: string; first: number; last: number },
): Promise<Listening> {
  for (let port = first; port <= last; port++) {
    try {
      return await listen(app, { host, port, exclusive: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
  throw new Error(
    `no port from ${first} to ${last} is free on ${host}; set worker.port_first and worker.port_last`,
  );
}
