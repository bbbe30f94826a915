// Prometheus's and Alertmanager's configuration for these settings, as data. Pure: written to files by render.ts.

import { stringify } from 'yaml';
import type { LoadedSettings } from '../../config/load.ts';
import { hostAndPort, reachable } from '../../config/reachable.ts';
import { promDuration } from './rules.ts';

type Fleet = Pick<LoadedSettings, 'alerts' | 'balancer'>;

/** The names of the files that belong together, in one folder. */
export const FILES = {
  prometheus: 'prometheus.yml',
  rules: 'toonfleet.rules.yml',
  alertmanager: 'alertmanager.yml',
  token: 'toonfleet-relay.token',
} as const;

/** Long expressions stay on one line, and nothing is written once and referred to. */
export const yamlOf = (value: object) => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

/** Where the relay takes in what Alertmanager has to say, by channel. */
export const ALERTS_PATH = '/v1/alerts';

/** The ways on which the relay can pass an alert on; every alert stands in its log too. */
export const channels = ['wecom', 'sms', 'hook', 'log'] as const;
export type Channel = (typeof channels)[number];

/** The channels that these settings open. */
export function openChannels({ relay }: LoadedSettings['alerts']): Channel[] {
  const open: Readonly<Record<Channel, boolean>> = {
    wecom: relay.wecom_key !== undefined,
    sms: relay.sms.provider !== 'none',
    hook: relay.hook.length > 0,
    log: true,
  };
  return channels.filter((channel) => open[channel]);
}

/** Whom Prometheus reads, by role: balancers at their admin port, nodes at their agent, the relay where there is one. */
export function prometheusConfig(settings: Fleet, agents: readonly string[]): object {
  const { alerts } = settings;
  const job = (role: 'balancer' | 'node' | 'relay', targets: readonly string[]) => ({
    job_name: `toonfleet-${role}`,
    metrics_path: '/metrics',
    static_configs: [{ targets, labels: { role } }],
    relabel_configs: [{ target_label: 'job', replacement: alerts.job }],
  });
  const balancers =
    alerts.balancers.length > 0
      ? alerts.balancers
      : [at(settings.balancer.admin_host, settings.balancer.admin_port)];
  const nodes = agents.map(hostAndPort);
  const interval = promDuration(alerts.scrape_interval);
  return {
    global: {
      scrape_interval: interval,
      scrape_timeout: promDuration(Math.min(10_000, alerts.scrape_interval)),
      evaluation_interval: interval,
    },
    rule_files: [FILES.rules],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [alerts.alertmanager] }] }] },
    scrape_configs: [
      job('balancer', balancers),
      job('node', nodes),
      ...(alerts.relay.token === undefined ? [] : [job('relay', [relayAddress(alerts)])]),
    ],
  };
}

/** How long Alertmanager gathers and when it repeats. */
export interface Rhythm {
  readonly groupWait: string;
  readonly groupInterval: string;
  readonly repeat: string;
  /** How long after the hook it is run again, while the alert still fires. */
  readonly repeatAction: string;
}

const RHYTHM: Rhythm = { groupWait: '10s', groupInterval: '1m', repeat: '4h', repeatAction: '30m' };
/** More alerts than these in one notice are told by their number. */
const MAX_ALERTS = 20;

/** Who is told what: everything to the team, critical alerts by short message too, short memory to the hook as well. */
export function alertmanagerConfig({ alerts }: Pick<LoadedSettings, 'alerts'>, rhythm = RHYTHM): object {
  const open = openChannels(alerts);
  const receiver = (name: string, wanted: readonly Channel[]) => {
    const usable = wanted.filter((channel) => open.includes(channel));
    const used: readonly Channel[] = usable.length > 0 ? usable : ['log'];
    return {
      name,
      webhook_configs: used.map((channel) => ({
        url: `http://${relayAddress(alerts)}${ALERTS_PATH}/${channel}`,
        // That a VM has memory again starts nothing.
        send_resolved: channel !== 'hook',
        max_alerts: MAX_ALERTS,
        http_config: { authorization: { type: 'Bearer', credentials_file: FILES.token } },
      })),
    };
  };
  return {
    route: {
      receiver: 'team',
      group_by: ['alertname', 'severity'],
      group_wait: rhythm.groupWait,
      group_interval: rhythm.groupInterval,
      repeat_interval: rhythm.repeat,
      routes: [
        // The hook has its own turn, and is run again while it does not help; people are told as of any alert.
        {
          receiver: 'scale-out',
          matchers: ['action="scale-out"'],
          repeat_interval: rhythm.repeatAction,
          continue: true,
        },
        { receiver: 'team', matchers: ['severity="warning"'] },
        { receiver: 'critical', matchers: ['severity="critical"'] },
        { receiver: 'journal', matchers: ['severity="info"'] },
      ],
    },
    inhibit_rules: [
      // A node that is down has no workers either, and all that failed with it.
      {
        source_matchers: ['alertname="NodeDown"'],
        target_matchers: [
          'alertname=~"NodeWithoutWorkers|WorkersMissing|WorkerCrashLoop|CpuHigh|MemoryHigh"',
        ],
        equal: ['instance'],
      },
      {
        source_matchers: ['alertname="AllUpstreamsDown"'],
        target_matchers: ['alertname=~"SuccessLow|SloBurns.*|UpstreamEjected|EjectionsMany|QueueLong"'],
      },
      {
        source_matchers: ['alertname="SloBurnsFast"'],
        target_matchers: ['alertname=~"SloBurns|SloBurnsSlowly"'],
      },
      { source_matchers: ['alertname="SloBurns"'], target_matchers: ['alertname="SloBurnsSlowly"'] },
    ],
    receivers: [
      receiver('team', ['wecom']),
      receiver('critical', ['wecom', 'sms']),
      receiver('scale-out', ['hook']),
      receiver('journal', ['log']),
    ],
  };
}

const relayAddress = ({ relay }: LoadedSettings['alerts']) => at(relay.host, relay.port);

const at = (host: string, port: number) => `${reachable(host)}:${port}`;
