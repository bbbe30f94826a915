// Reaches one URL over HTTP or HTTPS, through a proxy where one is set, and follows redirects. Knows no files and no models.

import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { ModelFault } from '../entries/fault.ts';

const MOST_REDIRECTS = 5;

/** How a source is reached. */
export interface Reach {
  /** http://[USER:PASSWORD@]HOST:PORT; empty means directly. */
  readonly proxy: string;
  /** How long nothing may arrive, ms. */
  readonly patienceMs: number;
}

/**
 * Asks for a URL; the answer's body is not read yet.
 * @throws {ModelFault} for a redirect that leads nowhere or away from HTTPS; errors of the network as they are.
 */
export async function open(
  url: string,
  headers: Readonly<Record<string, string>>,
  reach: Reach,
): Promise<IncomingMessage> {
  let at = new URL(url);
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const answer = await ask(at, headers, reach);
    const { statusCode = 0, headers: told } = answer;
    if (![301, 302, 303, 307, 308].includes(statusCode) || told.location === undefined) return answer;
    answer.resume();
    const next = URL.canParse(told.location, at) ? new URL(told.location, at) : undefined;
    if (!next || !/^https?:$/.test(next.protocol))
      throw new ModelFault(`${at.host} redirects to what is no web address`);
    if (at.protocol === 'https:' && next.protocol === 'http:')
      throw new ModelFault(`${at.host} redirects from HTTPS to plain HTTP, which is refused`);
    at = next;
  }
  throw new ModelFault(`${url} redirects more than ${MOST_REDIRECTS} times`);
}

async function ask(
  url: URL,
  headers: Readonly<Record<string, string>>,
  reach: Reach,
): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const own = { method: 'GET', headers: { 'user-agent': 'toonfleet', host: url.host, ...headers } };
  if (reach.proxy === '') return answerOf((secure ? httpsRequest : httpRequest)(url, own), reach);
  const proxy = URL.canParse(reach.proxy) ? new URL(reach.proxy) : undefined;
  if (proxy?.protocol !== 'http:')
    throw new ModelFault(
      'the proxy (models.proxy or HTTPS_PROXY) has to be http://[USER:PASSWORD@]HOST:PORT',
    );
  const through = {
    host: proxy.hostname,
    port: proxy.port === '' ? 80 : proxy.port,
    headers: proxy.username === '' ? {} : { 'proxy-authorization': basic(proxy) },
  };
  if (!secure) {
    const path = url.href;
    return answerOf(
      httpRequest({ ...through, ...own, path, headers: { ...own.headers, ...through.headers } }),
      reach,
    );
  }
  const tunnel = await tunnelTo(url, through, reach);
  const createConnection = () => tlsConnect({ socket: tunnel, servername: url.hostname });
  return answerOf(httpsRequest(url, { ...own, createConnection }), reach);
}

function tunnelTo(url: URL, through: RequestOptions, { patienceMs }: Reach): Promise<Socket> {
  const path = `${url.hostname}:${url.port === '' ? 443 : url.port}`;
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...through, method: 'CONNECT', path, agent: false });
    request.setTimeout(patienceMs, () => request.destroy(new Error('the proxy does not answer')));
    request.once('connect', ({ statusCode }: IncomingMessage, socket: Socket) => {
      // The patience of the request ends here; what goes through the tunnel has its own.
      socket.setTimeout(0);
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new ModelFault(`the proxy answers ${statusCode} when asked for ${path}`));
    });
    request.once('response', ({ statusCode }) =>
      reject(new ModelFault(`the proxy answers ${statusCode} when asked for ${path}`)),
    );
    request.once('error', reject);
    request.end();
  });
}

function answerOf(request: ClientRequest, { patienceMs }: Reach): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.setTimeout(patienceMs, () =>
      request.destroy(new Error(`nothing came for ${patienceMs / 1000} s`)),
    );
    request.once('response', resolve);
    request.once('error', reject);
    request.end();
  });
}

function basic({ username, password }: URL): string {
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}
