// One request over HTTP or HTTPS and its answer. Knows sockets; knows nothing of rates, photos or verdicts.
// It never tries again: a load test that repeats what was lost reports a better server than there is.

import http from 'node:http';
import https from 'node:https';
import { HEADERS, parseServerTiming } from '../config/contract.ts';
import { type Answer, type NoAnswer, noAnswer } from './outcome.ts';
import type { Upload } from './upload.ts';

/** Where requests go and how. */
export interface TargetOptions {
  readonly url: URL;
  /** Ms after which an answer is worth nothing any more. */
  readonly timeoutMs: number;
  /** Headers on every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Certificate authorities (PEM) beside the known ones. */
  readonly ca?: string | undefined;
  /** Take any certificate. */
  readonly insecure?: boolean;
}

/**
 * Idle connections are given up before a server's usual 5 s are over, so that a request is not sent into a connection
 * that is being closed, which would look like a fault of the server.
 */
const IDLE_MS = 4000;

/** The server under test. */
export class Target {
  readonly url: URL;
  readonly #client: typeof http | typeof https;
  readonly #agent: http.Agent;
  readonly #options: TargetOptions;

  constructor(options: TargetOptions) {
    this.url = options.url;
    this.#options = options;
    const keep = { keepAlive: true, maxFreeSockets: 4096, scheduling: 'lifo' as const, timeout: IDLE_MS };
    const secure = options.url.protocol === 'https:';
    this.#client = secure ? https : http;
    this.#agent = secure
      ? new https.Agent({
          ...keep,
          rejectUnauthorized: !options.insecure,
          ...(options.ca === undefined ? {} : { ca: options.ca }),
        })
      : new http.Agent(keep);
  }

  /** Sends one picture. `keepBody` keeps the answer's bytes. Never rejects. */
  post(path: string, upload: Upload, keepBody = false): Promise<Answer | NoAnswer> {
    return this.#exchange('POST', path, upload, keepBody);
  }

  /** Asks for a path; the body is kept. Never rejects. */
  get(path: string, accept = '*/*'): Promise<Answer | NoAnswer> {
    return this.#exchange('GET', path, undefined, true, { accept });
  }

  /** Closes every connection. */
  close(): void {
    this.#agent.destroy();
  }

  #exchange(
    method: string,
    path: string,
    upload: Upload | undefined,
    keepBody: boolean,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer | NoAnswer> {
    const { timeoutMs } = this.#options;
    return new Promise((resolve) => {
      const request = this.#client.request({
        protocol: this.url.protocol,
        hostname: this.url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: this.url.port,
        method,
        path,
        agent: this.#agent,
        headers: {
          host: this.url.host,
          ...(upload ? { 'content-type': upload.contentType, 'content-length': upload.bytes } : {}),
          ...this.#options.headers,
          ...headers,
        },
      });
      let answered = false;
      const patience = setTimeout(() => {
        request.destroy(
          Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: 'ERR_TIMEOUT' }),
        );
      }, timeoutMs);
      const end = (result: Answer | NoAnswer) => {
        if (answered) return;
        answered = true;
        clearTimeout(patience);
        resolve(result);
      };
      request.on('error', (error) => end(noAnswer(error)));
      request.on('response', (response) => {
        const pieces: Buffer[] = [];
        let bytes = 0;
        response.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (keepBody) pieces.push(piece);
        });
        // Without its last byte an answer is none, even if its status was 200.
        response.on('error', (error) => end(noAnswer(error)));
        response.on('end', () =>
          end({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'],
            bytes,
            body: keepBody ? Buffer.concat(pieces) : undefined,
            timings: parseServerTiming(single(response.headers[HEADERS.serverTiming])),
            cache: single(response.headers[HEADERS.cache]),
            model: single(response.headers[HEADERS.model]),
            node: single(response.headers[HEADERS.node]),
          }),
        );
      });
      if (!upload) {
        request.end();
        return;
      }
      request.cork();
      for (const piece of upload.pieces) request.write(piece);
      request.end();
      request.uncork();
    });
  }
}

const single = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value;
