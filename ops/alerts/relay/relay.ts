// `toonfleet alert-relay`: takes what Alertmanager has to say and passes it on to WeCom, as short messages, and to a hook.
// Composition root; it needs nothing of the fleet, so that it can tell of a fleet that is down.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LoadedSettings } from '../../../config/load.ts';
import { type Running, runProcess } from '../../process/lifecycle.ts';
import type { Log } from '../../process/log.ts';
import { relayMetrics } from '../../process/metrics.ts';
import { type Channel, openChannels } from '../prometheus.ts';
import { createRelayApp } from './app.ts';
import { hookSender } from './hook.ts';
import { Outbox, type OutboxParts } from './outbox.ts';
import { SMS_TOGETHER, smsRate, smsSender } from './sms.ts';
import { WECOM_RATE, WECOM_TOGETHER, wecomSender } from './wecom.ts';

/** Below the pause after which Alertmanager asks again by itself. */
const PATIENCE_MS = 20_000;

/** The relay as a process of its own. */
export const runRelay = (configFile: string | undefined) =>
  runProcess('alert-relay', startRelay, { file: configFile, alertSecrets: true });

type Service = Pick<OutboxParts, 'rate' | 'together' | 'send'>;

/** What a channel can bear, and how it is reached; the log is written by the app. */
function serviceOf(channel: Channel, { relay }: LoadedSettings['alerts']): Service | undefined {
  switch (channel) {
    case 'wecom':
      return {
        rate: WECOM_RATE,
        together: WECOM_TOGETHER,
        send: wecomSender(relay, relay.wecom_key ?? ''),
      };
    case 'sms':
      return { rate: smsRate(relay.sms), together: SMS_TOGETHER, send: smsSender(relay.sms) };
    case 'hook':
      return {
        rate: { burst: 1, everyMs: Math.max(1, relay.hook_pause) },
        together: 1,
        send: hookSender(relay, process.env),
      };
    case 'log':
      return undefined;
  }
}

/**
 * Starts a relay.
 * @throws {Error} without a token: whoever reached it could otherwise wake people and run the hook.
 */
export async function startRelay(
  settings: LoadedSettings,
  log: Log,
): Promise<Running & { readonly address: AddressInfo }> {
  const { alerts } = settings;
  const { relay } = alerts;
  if (relay.token === undefined)
    throw new Error(
      'alerts.relay.token is not set: give TOONFLEET_ALERTS__RELAY__TOKEN or alerts.relay.token_file (openssl rand -hex 24)',
    );
  const metrics = relayMetrics();
  const outboxes = new Map<Channel, Outbox>();
  for (const channel of openChannels(alerts)) {
    const service = serviceOf(channel, alerts);
    if (!service) continue;
    for (const end of ['sent', 'failed']) metrics.messages.inc({ channel, end }, 0);
    outboxes.set(
      channel,
      new Outbox({
        ...service,
        now: Date.now,
        random: Math.random,
        later: (ms, run) => void setTimeout(run, ms).unref(),
        settled: (end, notices, why) => {
          metrics.messages.inc({ channel, end }, notices);
          if (end === 'failed') log.error({ channel, notices, why }, 'notices were given up');
        },
        retried: (why) => {
          metrics.retries.inc({ channel });
          log.warn({ channel, why }, 'a notice did not get through and is tried again');
        },
      }),
    );
  }
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    createRelayApp({ token: relay.token, outboxes, metrics, log, patienceMs: PATIENCE_MS }),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: relay.host, port: relay.port }, resolve);
  });
  log.info({ address: server.address(), channels: [...outboxes.keys(), 'log'] }, 'listening');
  return {
    address: server.address() as AddressInfo,
    close: [
      {
        name: 'server',
        // What is on its way has not been answered: Alertmanager says it again.
        run: () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      },
    ],
  };
}
