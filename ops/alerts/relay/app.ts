// The relay's paths: Alertmanager's webhook for each channel, and metrics. An answer of 200 means that the notice was passed
// on; before that Alertmanager keeps it and asks again, so a relay that dies loses none. Does not listen.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { INTERNAL_PATHS, PATHS } from '../../../config/contract.ts';
import { renderError, ToonError, toToonError } from '../../../config/errors.ts';
import { readJsonBody } from '../../process/json-body.ts';
import type { Log } from '../../process/log.ts';
import type { RelayMetrics } from '../../process/metrics.ts';
import { sameSecret } from '../../process/secret.ts';
import { ALERTS_PATH } from '../prometheus.ts';
import { type Notice, noticeSchema } from './notice.ts';
import type { Outbox } from './outbox.ts';

/** What the paths need. */
export interface RelayParts {
  readonly token: string;
  /** The channels that are open, beside the log. */
  readonly outboxes: ReadonlyMap<string, Pick<Outbox, 'deliver' | 'waiting'>>;
  readonly metrics: RelayMetrics;
  readonly log: Log;
  /** How long a notice may be on its way before Alertmanager is asked to come again, ms. */
  readonly patienceMs: number;
}

const RETRY_AFTER_MS = 10_000;

/** The relay as a request listener. */
export function createRelayApp(parts: RelayParts): RequestListener {
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    answer(parts, request, response, path).catch((error: unknown) => {
      const failure = toToonError(error);
      if (failure.code === 'internal_error') parts.log.error({ error, path }, 'request failed');
      if (response.headersSent) return void response.destroy();
      const { status, headers, body } = renderError(failure, 'plain', randomUUID());
      const challenge = failure.code === 'unauthorized' ? { 'www-authenticate': 'Bearer' } : {};
      const json = { 'content-type': 'application/json; charset=utf-8' };
      // What was not read of the body must not be taken for the next request.
      response.writeHead(status, { ...json, ...headers, ...challenge, connection: 'close' }).end(body);
    });
  };
}

async function answer(
  parts: RelayParts,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Promise<void> {
  if (path === PATHS.live || path === INTERNAL_PATHS.metrics) {
    if (request.method !== 'GET') throw new ToonError('method_not_allowed', { allow: ['GET'] });
    if (path === PATHS.live) return sendJson(response, { status: 'live' });
    for (const [channel, outbox] of parts.outboxes) parts.metrics.waiting.set({ channel }, outbox.waiting);
    response.writeHead(200, { 'content-type': parts.metrics.registry.contentType });
    response.end(await parts.metrics.registry.metrics());
    return;
  }
  if (!path.startsWith(`${ALERTS_PATH}/`)) throw new ToonError('not_found');
  if (request.method !== 'POST') throw new ToonError('method_not_allowed', { allow: ['POST'] });
  const [, given = ''] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (!sameSecret(given, parts.token))
    throw new ToonError('unauthorized', {
      detail: 'Send alerts.relay.token as "Authorization: Bearer TOKEN".',
    });
  const channel = path.slice(ALERTS_PATH.length + 1);
  const outbox = parts.outboxes.get(channel);
  if (!outbox && channel !== 'log')
    throw new ToonError('not_found', { detail: `This relay has no channel "${channel}"; see alerts.relay.` });
  const notice = parseNotice(await readJsonBody(request));
  writeDown(parts.log, channel, notice);
  if (!outbox) return sendJson(response, { status: 'sent' });
  const end = await withPatience(outbox.deliver(notice), parts.patienceMs);
  if (end === 'on its way')
    throw new ToonError('overloaded', {
      detail: 'The notice is on its way and not there yet; ask again.',
      retryAfterMs: RETRY_AFTER_MS,
    });
  // One that was given up is not asked for again: its next try would end the same. The log and a metric tell of it.
  sendJson(response, { status: end });
}

function parseNotice(body: unknown): Notice {
  const parsed = noticeSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ToonError('bad_request', {
    detail: `${issue?.path.join('.') || 'body'}: ${issue?.message ?? "is not Alertmanager's webhook, version 4"}.`,
  });
}

/** Every alert leaves its line, whichever way it goes on. */
function writeDown(log: Log, channel: string, { alerts }: Notice): void {
  for (const { status, labels, annotations, startsAt } of alerts) {
    const fields = {
      channel,
      alert: labels.alertname,
      instance: labels.instance,
      severity: labels.severity,
      summary: annotations.summary,
      since: startsAt,
    };
    if (status === 'firing') log.warn(fields, 'alert firing');
    else log.info(fields, 'alert resolved');
  }
}

async function withPatience<T>(promise: Promise<T>, ms: number): Promise<T | 'on its way'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'on its way'>((resolve) => {
    timer = setTimeout(() => resolve('on its way'), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
