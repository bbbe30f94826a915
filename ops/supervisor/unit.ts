// The systemd unit of a role: the template in systemd/ with this machine's places, times and limits filled in. Pure.

import { join } from 'node:path';
import type { LoadedSettings } from '../../config/load.ts';
import { envNameOf, settingRows } from '../../config/schema.ts';
import { type App, mostWorkers, type Role, roles } from '../apps.ts';
import { fillTemplate } from '../process/template.ts';

/** Where things are on the machine that something is written for. */
export interface CommonPlaces {
  /** The release, or the link to the current one. */
  readonly root: string;
  readonly node: string;
  readonly user: string;
  readonly config: string;
  readonly dataDir: string;
}

/** And what its unit has to know beside that. */
export interface UnitPlaces extends CommonPlaces {
  /** Whether logrotate turns the logs there, so that the agent need not. */
  readonly logrotate: boolean;
  /** What `worker.count: auto` is there. */
  readonly cores: number;
}

/** What a timer starts: the words behind `toonfleet backup`, and when, in systemd's words; undefined is backup.calendar. */
const TIMED = {
  backup: { words: 'create', what: 'the daily backup', calendar: undefined },
  'backup-verify': {
    words: 'verify --all',
    what: 'the weekly proof that backups are whole and come back',
    calendar: 'Sun *-*-* 05:00:00',
  },
} as const;
export type TimedRole = keyof typeof TIMED;
export const timedRoles = ['backup', 'backup-verify'] as const satisfies readonly TimedRole[];

/** What has a unit: a role of PM2's apps, what stands for itself, and what a timer starts. */
export const unitRoles = [...roles, 'alert-relay', 'autoscale', ...timedRoles] as const;
export type UnitRole = (typeof unitRoles)[number];

/** The name of a role's unit. */
export const unitNameOf = (role: UnitRole) =>
  role === 'all' ? 'toonfleet.service' : `toonfleet-${role}.service`;

/** What PM2 itself and the command need beside the slowest app, s. */
const FAREWELL_S = 20;
/** What one worker may have before the kernel is asked to take from it, MB: twice what is promised at 512 px. */
const WORKER_MB = 1000;
/** What balancer, agent and PM2 may have beside their buffers, MB. */
const OTHERS_MB = 1000;

/**
 * The unit's text.
 * @param apps The role's apps, whose slowest end gives the time to stop.
 * @throws {Error} when the template asks for something that is not known here.
 */
export function unitOf(
  template: string,
  role: Role,
  settings: LoadedSettings,
  apps: readonly App[],
  places: UnitPlaces,
): string {
  const { root, node, dataDir, config, logrotate, cores } = places;
  const { balancer } = settings;
  const slowestMs = apps.reduce((sum, app) => sum + app.kill_timeout, 0);
  // Scaling may make more of them than it starts with.
  const workers = role === 'balancer' ? 0 : mostWorkers(settings, cores);
  const buffersMb = role === 'node' ? 0 : Math.ceil(balancer.buffer_budget / 1e6);
  const publicPorts = [balancer.port, ...(balancer.tls.cert_file === '' ? [] : [balancer.tls.port])];
  const lowPort = role !== 'node' && publicPorts.some((port) => port < 1024);
  return fillTemplate(template, {
    ...common(places),
    role,
    reload: role === 'node' ? 'worker' : role,
    stop_seconds: String(Math.ceil(slowestMs / 1000) + FAREWELL_S),
    memory: `MemoryMax=${workers * WORKER_MB + OTHERS_MB + buffersMb}M`,
    capabilities: lowPort ? 'CAP_NET_BIND_SERVICE' : '',
    protect_home: protectHome([root, node, dataDir, config]),
    credentials: credentials(settings),
    rotation: logrotate ? 'Environment=TOONFLEET_LOGS__TURN_AT=0B' : '',
  });
}

/** The unit of the alert relay, with the secrets that are its own. */
export function relayUnitOf(
  template: string,
  { alerts: { relay } }: Pick<LoadedSettings, 'alerts'>,
  places: UnitPlaces,
): string {
  const { root, node, config } = places;
  return fillTemplate(template, {
    ...common(places),
    protect_home: protectHome([root, node, config, relay.hook[0] ?? '']),
    credentials: handedOver([
      ['relay-token', 'TOONFLEET_ALERTS__RELAY__TOKEN_FILE', relay.token_file],
      ['wecom-key', 'TOONFLEET_ALERTS__RELAY__WECOM_KEY_FILE', relay.wecom_key_file],
      ['sms-secret', 'TOONFLEET_ALERTS__RELAY__SMS__KEY_SECRET_FILE', relay.sms.key_secret_file],
    ]),
  });
}

/** The unit of a backup, which needs no secret but the one of the place elsewhere. */
export function backupUnitOf(
  template: string,
  role: TimedRole,
  { backup, data_dir }: Pick<LoadedSettings, 'backup' | 'data_dir'>,
  places: UnitPlaces,
): string {
  const { root, node, dataDir, config } = places;
  const { words, what } = TIMED[role];
  // The default lies in data_dir, which is another one for whoever renders this.
  const backupDir = backup.dir === join(data_dir, 'backup') ? join(dataDir, 'backup') : backup.dir;
  return fillTemplate(template, {
    ...common(places),
    words,
    what,
    backup_dir: backupDir,
    protect_home: protectHome([root, node, dataDir, config, backupDir]),
    others: withoutSecretsBut('backup.password'),
    credentials: handedOver([['backup-password', 'TOONFLEET_BACKUP__PASSWORD_FILE', backup.password_file]]),
  });
}

/** The timer of such a unit. */
export function timerOf(
  template: string,
  role: TimedRole,
  { backup }: Pick<LoadedSettings, 'backup'>,
): string {
  const { what, calendar } = TIMED[role];
  return fillTemplate(template, { what, unit: unitNameOf(role), calendar: calendar ?? backup.calendar });
}

/** The name of a unit's timer. */
export const timerNameOf = (role: TimedRole) => unitNameOf(role).replace('.service', '.timer');

/** The unit that wakes and parks VMs; it may take as long to stop as one move. */
export function autoscaleUnitOf(
  template: string,
  { autoscale, balancer }: Pick<LoadedSettings, 'autoscale' | 'balancer'>,
  places: UnitPlaces,
): string {
  const { root, node, dataDir, config } = places;
  const { wake, park, drain_within, hook_timeout } = autoscale;
  return fillTemplate(template, {
    ...common(places),
    others: withoutSecretsBut('balancer.admin_token'),
    stop_seconds: String(Math.ceil((drain_within + hook_timeout) / 1000) + FAREWELL_S),
    protect_home: protectHome([root, node, config, dataDir, wake[0] ?? '', park[0] ?? '']),
    credentials: handedOver([
      ['admin-token', 'TOONFLEET_BALANCER__ADMIN_TOKEN_FILE', balancer.admin_token_file],
    ]),
  });
}

/** The command that runs the service's release from anywhere. */
export const commandOf = (template: string, places: CommonPlaces) => fillTemplate(template, common(places));

/** What every unit says of its machine. */
const common = ({ root, node, user, config, dataDir }: CommonPlaces) => ({
  root,
  node,
  user,
  config,
  data_dir: dataDir,
});

/** Secrets that stand in files which this unit's user cannot read are none of its own. */
const withoutSecretsBut = (own: string) =>
  settingRows()
    .filter(({ name, secret }) => secret && name !== own)
    .map(({ name }) => `Environment=${envNameOf(`${name}_file`)}=`)
    .join('\n');

/** What lies below /home must still be seen. */
const protectHome = (paths: readonly string[]) =>
  paths.some((path) => /^\/(home|root)\//.test(path)) ? 'read-only' : 'yes';

type Credential = readonly [credential: string, variable: string, file: string];

const credentials = ({ node, balancer }: LoadedSettings) =>
  handedOver([
    ['node-key', 'TOONFLEET_NODE__KEY_FILE', node.key_file],
    ['admin-token', 'TOONFLEET_BALANCER__ADMIN_TOKEN_FILE', balancer.admin_token_file],
  ]);

/** Secrets that stand in files are handed over by systemd, so that the service's user need not be able to read them. */
function handedOver(files: readonly Credential[]): string {
  return files
    .filter(([, , file]) => file !== '')
    .flatMap(([credential, variable, file]) => [
      `LoadCredential=${credential}:${file}`,
      `Environment=${variable}=%d/${credential}`,
    ])
    .join('\n');
}
