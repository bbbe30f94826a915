// Whether the machines of a fleet fit together: they are reached, take the key, go by one clock and run one release. Pure:
// probe-fleet.ts asks.

import type { Asked } from '../agents.ts';
import { bad, type Finding, ok, type Report, warn } from './finding.ts';

/** What an agent's roster says. */
export interface AskedNode {
  readonly agent: string;
  readonly asked: Asked;
  /** The node's name; its address where it does not tell. */
  readonly name: string;
  readonly release: string | undefined;
  readonly draining: boolean;
  readonly workers: readonly AskedWorker[];
}

/** One worker of a roster, and what it answered when it was asked from here. */
export interface AskedWorker {
  readonly url: string;
  readonly state: string;
  readonly asked: Asked;
}

/** @param keyed Whether a node key is set here. */
export function judgeNode({ agent, asked, name, draining, workers }: AskedNode, keyed: boolean): Finding[] {
  const check = 'reach';
  switch (asked.kind) {
    case 'silent':
      return [
        bad(
          check,
          `the agent ${agent}: ${asked.why}`,
          'is the machine up, toonfleet started there, agent.host its private address, and the port open in its firewall?',
        ),
      ];
    case 'refused':
      return asked.status === 401
        ? [
            bad(
              'node key',
              `${name} does not take ${keyed ? 'our node key' : 'us without a node key'}`,
              'the same TOONFLEET_NODE__KEY (or node.key_file) on all machines, then restart the one that was changed',
            ),
          ]
        : [
            bad(
              check,
              `the agent ${agent} answered: ${asked.why}`,
              'is that an agent? look at nodes in the settings',
            ),
          ];
    case 'answer': {
      const silent = workers.filter((worker) => worker.asked.kind === 'silent');
      const refusing = workers.filter(
        (worker) => worker.asked.kind === 'refused' && worker.asked.status === 401,
      );
      const findings: Finding[] = [
        ...silent.map((worker) =>
          bad(
            check,
            `${name}: its worker ${worker.url} is not reached (${whyOf(worker.asked)})`,
            'open worker.port_first to port_last in its firewall for the balancers, and see that worker.host is its private address',
          ),
        ),
        ...(refusing.length > 0
          ? [
              bad(
                'node key',
                `${name}: ${refusing.length} workers do not take our node key`,
                'they were started with another one: restart that node',
              ),
            ]
          : []),
      ];
      if (workers.length === 0)
        findings.push(
          bad(check, `${name} has no workers`, `look why: toonfleet logs --node ${name} --level warn`),
        );
      else if (!workers.some(({ state }) => state === 'ready') && !draining)
        findings.push(
          warn(
            check,
            `${name}: none of its ${workers.length} workers is ready`,
            `they load their models, or cannot: toonfleet logs --node ${name} --level warn`,
          ),
        );
      if (findings.length > 0) return findings;
      return [
        ok(
          check,
          `${name}: its agent${keyed ? ' takes our key, and' : ' and'} ${workers.length} workers answer${draining ? '; it is drained' : ''}`,
        ),
      ];
    }
  }
}

const whyOf = (asked: Asked) => (asked.kind === 'answer' ? 'it answered' : asked.why);

/** How far a node's clock is from ours at least, ms: positive when it goes ahead. */
export function skewOf({
  date,
  sentAt,
  answeredAt,
}: {
  date: number;
  sentAt: number;
  answeredAt: number;
}): number {
  // The header has whole seconds: its true time lies from `date` to just before the next one.
  const ahead = date - answeredAt;
  const behind = date + 999 - sentAt;
  return ahead > 0 ? ahead : Math.min(behind, 0);
}

/** Logs of several machines cannot be read together, and signed links and certificates go by the clock. */
const SKEW_WARN_MS = 1_000;
const SKEW_BAD_MS = 30_000;

export function judgeClocks(nodes: readonly AskedNode[]): Finding[] {
  const check = 'clocks';
  const skews = nodes.flatMap(({ name, asked }) =>
    asked.kind === 'answer' && asked.date !== undefined
      ? [{ name, ms: skewOf({ ...asked, date: asked.date }) }]
      : [],
  );
  if (skews.length === 0) return [];
  const off = skews.filter(({ ms }) => Math.abs(ms) > SKEW_WARN_MS);
  if (off.length === 0)
    return [
      ok(
        check,
        `${skews.length === 1 ? 'the clock of 1 node is' : `the clocks of ${skews.length} nodes are`} within a second or two of ours`,
      ),
    ];
  return off.map(({ name, ms }) => {
    const found = `${name} is ${(Math.abs(ms) / 1000).toFixed(1)} s ${ms > 0 ? 'ahead of' : 'behind'} this machine`;
    const advice =
      'have both set their clocks by NTP: timedatectl set-ntp true (systemd-timesyncd), or chrony';
    return Math.abs(ms) > SKEW_BAD_MS ? bad(check, found, advice) : warn(check, found, advice);
  });
}

/** @param here The release of this command. */
export function judgeReleases(nodes: readonly AskedNode[], here: string): Finding[] {
  const check = 'releases';
  const told = nodes.flatMap(({ name, release }) => (release === undefined ? [] : [{ name, release }]));
  const releases = [...new Set(told.map(({ release }) => release))].sort();
  if (told.length === 0) return [];
  if (releases.length > 1)
    return [
      warn(
        check,
        releases
          .map(
            (release) =>
              `${release} on ${told
                .filter((node) => node.release === release)
                .map(({ name }) => name)
                .join(', ')}`,
          )
          .join('; '),
        'finish the rollout or roll back, unless a canary is meant (toonfleet traffic)',
      ),
    ];
  const [only = here] = releases;
  return only === here
    ? [ok(check, `${here} everywhere`)]
    : [
        warn(
          check,
          `this command is ${here}, what runs is ${only}`,
          'bring this release to the nodes, or use the command of that one',
        ),
      ];
}

export function judgeTimeZones(reports: readonly Report[]): Finding[] {
  const zones = [...new Set(reports.map(({ time_zone }) => time_zone))];
  if (zones.length < 2) return [];
  const who = reports.map(({ node, time_zone }) => `${node} ${time_zone}`).join(', ');
  return [
    warn(
      'time zone',
      `not the same everywhere: ${who}`,
      'logs go by UTC anyway; timetables of a node go by its own zone: timedatectl set-timezone',
    ),
  ];
}

/** Where something listens, and whether it is guarded. */
export interface Exposure {
  readonly hosts: readonly { readonly setting: string; readonly host: string }[];
  readonly keyed: boolean;
}

export function judgeNodeKey({ hosts, keyed }: Exposure): Finding {
  const check = 'node key';
  if (keyed) return ok(check, 'set');
  const open = hosts.filter(({ host }) => !/^(127\.|::1$|localhost$)/.test(host));
  return open.length === 0
    ? ok(check, 'none, and none is needed: agent and workers listen on loopback')
    : warn(
        check,
        `none, while ${open.map(({ setting, host }) => `${setting} is ${host}`).join(' and ')}`,
        'whoever reaches these ports gets around every limit: the same secret as TOONFLEET_NODE__KEY on all machines (openssl rand -hex 24)',
      );
}
