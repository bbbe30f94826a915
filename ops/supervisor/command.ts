// `toonfleet systemd render|install`: shows a role's unit, or puts it on this machine with its user and folders.
// The only file here that touches the machine; what a unit says stands in unit.ts.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { LoadedSettings } from '../../config/load.ts';
import { appsOf } from '../apps.ts';
import { LOG_PROGRAMS, renderLogs } from '../logs/render.ts';
import { usableSlots } from '../process/devices.ts';
import { PACKAGE_ROOT } from '../process/package.ts';
import { STANDARD } from '../terminal.ts';
import {
  autoscaleUnitOf,
  backupUnitOf,
  type CommonPlaces,
  commandOf,
  relayUnitOf,
  type TimedRole,
  timedRoles,
  timerNameOf,
  timerOf,
  type UnitRole,
  unitNameOf,
  unitOf,
} from './unit.ts';

/** How it was asked. */
export interface SystemdOptions {
  readonly role: UnitRole;
  /** The release to run; the folder of this command by default. A link stays a link, so that it can be moved on. */
  readonly root: string | undefined;
  readonly user: string | undefined;
  readonly config: string | undefined;
  readonly dataDir: string | undefined;
  /** Show each step and do none. */
  readonly dryRun: boolean;
  /** The unit begins anew, and nobody waits until it is ready: what a rollout wants, which asks the agent itself. */
  readonly restart: boolean;
}

const UNITS = '/etc/systemd/system';
const USER = 'toonfleet';
const CONFIG = '/etc/toonfleet/toonfleet.yaml';
/** Where the service keeps its data; the plays of rollouts say the same. */
export const DATA = '/var/lib/toonfleet';
/** The command, where every shell and sudo look. */
export const COMMAND = '/usr/local/bin/toonfleet';
/** Where logrotate looks for what to turn; other packages put files there on machines that have no logrotate. */
const LOGROTATE_FILE = '/etc/logrotate.d/toonfleet';
const LOGROTATE_PROGRAMS = ['/usr/sbin/logrotate', '/usr/bin/logrotate'];
const hasLogrotate = () => LOGROTATE_PROGRAMS.some((path) => existsSync(path));
/** Debian's logrotate looks once a day, and a busy day may fill a disk; what others say of their own logs still holds. */
const HOURLY = '[Timer]\nOnCalendar=\nOnCalendar=hourly\nAccuracySec=1min\n';
/** journald may take a tenth of the disk by itself; every line stands in the log files as well. */
const JOURNAL_FILE = '/etc/systemd/journald.conf.d/60-toonfleet.conf';
const JOURNAL =
  '# Every log line of toonfleet comes here as well.\n[Journal]\nSystemMaxUse=1G\nMaxRetentionSec=1month\n';

const { say, complain } = STANDARD;

/** The settings file that a unit is made from, and names: the one that was said, else the machine's own if there is one. */
export function unitConfig(
  said: string | undefined,
  exists: (path: string) => boolean = existsSync,
): string | undefined {
  return said ?? (exists(CONFIG) ? CONFIG : undefined);
}

/**
 * Whether logrotate turns our logs here: the program alone, which most machines have, knows nothing of them.
 * @param exists Whether there is such a file.
 */
export const logrotateTurns = (exists: (path: string) => boolean): boolean =>
  LOGROTATE_PROGRAMS.some(exists) && exists(LOGROTATE_FILE);

/** Where an operator wants things, or where they usually are. */
type Places = Pick<SystemdOptions, 'root' | 'user' | 'config' | 'dataDir'>;

const placesOf = ({ root, user, config, dataDir }: Places): CommonPlaces => ({
  root: resolve(root ?? PACKAGE_ROOT),
  node: process.execPath,
  user: user ?? USER,
  config: resolve(config ?? CONFIG),
  dataDir: resolve(dataDir ?? DATA),
});

/** The unit's text, as it would stand on this machine. */
export function renderUnit(
  settings: LoadedSettings,
  options: Places & Pick<SystemdOptions, 'role'>,
  logrotate = logrotateTurns(existsSync),
): string {
  const places = { ...placesOf(options), logrotate, cores: usableSlots(settings) };
  const { root } = places;
  const { role } = options;
  if (role === 'alert-relay') return relayUnitOf(template('toonfleet-alert-relay.service'), settings, places);
  if (role === 'autoscale') return autoscaleUnitOf(template('toonfleet-autoscale.service'), settings, places);
  if (isTimed(role)) return backupUnitOf(template('toonfleet-backup.service'), role, settings, places);
  const apps = appsOf(settings, role, { root, cwd: DATA, cores: places.cores });
  return unitOf(template('toonfleet.service'), role, settings, apps, places);
}

/** The text of the timer that starts a unit; undefined for one that runs by itself. */
export function renderTimer(settings: LoadedSettings, role: UnitRole): string | undefined {
  return isTimed(role) ? timerOf(template('toonfleet-backup.timer'), role, settings) : undefined;
}

const isTimed = (role: UnitRole): role is TimedRole => (timedRoles as readonly UnitRole[]).includes(role);

const template = (name: string) => readFileSync(join(PACKAGE_ROOT, 'systemd', name), 'utf8');

/**
 * Makes the user, the folders and the unit, and starts it where systemd runs this machine.
 * @returns The exit code; 1 without the rights that it needs.
 */
export function installUnit(settings: LoadedSettings, options: SystemdOptions): number {
  const places = placesOf(options);
  const { root, user, config, dataDir } = places;
  const unit = unitNameOf(options.role);
  if (!options.dryRun && process.getuid?.() !== 0) {
    complain('toonfleet systemd install writes to /etc: run it as root, or look first: --dry-run');
    return 1;
  }
  const runs = existsSync('/run/systemd/system');
  if (options.restart && !runs) {
    complain(
      'systemd does not run this machine, so nothing can be restarted: on such machines rollout.supervisor is pm2. Nothing was installed.',
    );
    return 1;
  }
  const step = (sentence: string, act: () => void) => {
    say(sentence);
    if (!options.dryRun) act();
  };
  if (!idsOf(user))
    step(`user ${user}, without a shell or a home`, () => {
      execFileSync('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', user]);
    });
  const fault = options.dryRun ? undefined : outOfReach(user, root);
  if (fault !== undefined) {
    complain(`${fault} Nothing was installed.`);
    return 1;
  }
  step(`folder ${dataDir}, for ${user} alone`, () => {
    mkdirSync(dataDir, { recursive: true });
    const ids = idsOf(user);
    if (!ids) throw new Error(`there is no user ${user}, although it was just made`);
    chownSync(dataDir, ...ids);
    chmodSync(dataDir, 0o700);
  });
  if (!existsSync(config))
    step(`settings ${config}, which leave every default but data_dir`, () => {
      mkdirSync(dirname(config), { recursive: true });
      const text = `# Every setting and its default: toonfleet config docs\ndata_dir: ${JSON.stringify(dataDir)}\n`;
      writeFileSync(config, text, { mode: 0o644 });
    });
  const { role } = options;
  // Where the program is, its file is written below.
  const render = (each: UnitRole) => renderUnit(settings, { ...options, role: each }, hasLogrotate());
  if (!isTimed(role)) step(`unit ${join(UNITS, unit)}`, () => writeFileSync(join(UNITS, unit), render(role)));
  // Whatever a machine does, what it is told is worth a backup; the relay keeps nothing.
  const timed = isTimed(role) ? [role] : role === 'alert-relay' ? [] : timedRoles;
  for (const each of timed)
    step(`unit ${join(UNITS, unitNameOf(each))} and ${timerNameOf(each)}`, () => {
      writeFileSync(join(UNITS, unitNameOf(each)), render(each));
      writeFileSync(join(UNITS, timerNameOf(each)), renderTimer(settings, each) ?? '');
    });
  const timers = timed.map(timerNameOf);
  const logs = logFiles(places, settings);
  for (const [path, text] of logs)
    step(path, () => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode: 0o644 });
    });
  const command = commandOf(template('toonfleet.sh'), places);
  if (isOurs(COMMAND))
    step(`command ${COMMAND}`, () => {
      mkdirSync(dirname(COMMAND), { recursive: true });
      writeFileSync(`${COMMAND}.fresh`, command);
      chmodSync(`${COMMAND}.fresh`, 0o755);
      // Somebody may be running it, and a shell reads as it goes.
      renameSync(`${COMMAND}.fresh`, COMMAND);
    });
  else say(`${COMMAND} is somebody else's and stays as it is`);
  const own = isTimed(role) ? [] : [unit];
  if (!runs) {
    say(
      `systemd does not run this machine now; when it does: systemctl enable --now ${[...own, ...timers].join(' ')}`,
    );
    return 0;
  }
  for (const words of [
    ['daemon-reload'],
    // They read their new bounds only when they begin; the journal's lines wait meanwhile.
    ...(logs.some(([path]) => path === JOURNAL_FILE) ? [['try-restart', 'systemd-journald.service']] : []),
    ...(hasLogrotate() ? [['try-restart', 'logrotate.timer']] : []),
    ...(options.restart ? begunAnew(own, timers) : [['enable', '--now', ...own, ...timers]]),
  ]) {
    say(`systemctl ${words.join(' ')}`);
    if (options.dryRun || spawnSync('systemctl', words, { stdio: 'inherit' }).status === 0) continue;
    complain(
      `systemctl ${words[0]} failed. All files are written; put right what it says, and give the command again.`,
    );
    return 1;
  }
  say(`look at it: systemctl status ${unit}; journalctl -u ${unit} -f`);
  return 0;
}

/**
 * Why the service's user could not run a release, or undefined. Homes are closed to others on Debian and Ubuntu, and a unit
 * with its release or its Node in one would be restarted for nothing.
 */
export function outOfReach(user: string, root: string, node = process.execPath): string | undefined {
  if (!may(user, '-r', join(root, 'package.json')))
    return `The user ${user} cannot read ${root}: put the release where every user may look, such as below /opt.`;
  if (!may(user, '-x', node))
    return `The user ${user} cannot run ${node}: install Node where every user may look, such as by the system's packages.`;
  return undefined;
}

/** Whether a user may read (-r) or run (-x) a file; yes where nobody can be asked. */
function may(user: string, what: '-r' | '-x', path: string): boolean {
  try {
    execFileSync('runuser', ['-u', user, '--', 'test', what, path], { stdio: 'ignore' });
    return true;
  } catch (error) {
    return (error as { status?: number | null }).status !== 1;
  }
}

/** What systemctl is told so that a unit begins anew, and its timers go on. */
const begunAnew = (units: readonly string[], timers: readonly string[]) => [
  ...units.map((unit) => ['enable', unit]),
  ...(timers.length > 0 ? [['enable', '--now', ...timers]] : []),
  // Only a start that failed too often needs it; of a unit that systemd has not loaded it knows nothing to forget.
  ...units.flatMap((unit) => (hasFailed(unit) ? [['reset-failed', unit]] : [])),
  ...units.map((unit) => ['restart', '--no-block', unit]),
];

const hasFailed = (unit: string) =>
  spawnSync('systemctl', ['is-failed', '--quiet', unit], { stdio: 'ignore' }).status === 0;

/** Whether a file is one that was written from our template, or none is there. */
const isOurs = (path: string) =>
  !existsSync(path) || readFileSync(path, 'utf8').includes('`toonfleet systemd install`');

/** What keeps the logs in bounds: files by their paths. A bound on the journal that is there already stays. */
function logFiles(
  { user, dataDir, root, node }: CommonPlaces,
  settings: LoadedSettings,
): [path: string, text: string][] {
  const files: [string, string][] = [];
  if (!existsSync(JOURNAL_FILE)) files.push([JOURNAL_FILE, JOURNAL]);
  if (!hasLogrotate()) return files;
  const template = readFileSync(join(PACKAGE_ROOT, 'ops/logs', LOG_PROGRAMS.logrotate), 'utf8');
  const places = { dataDir, node, root, user, vm: settings.node.name, to: undefined };
  const text = renderLogs('logrotate', template, places);
  files.push([LOGROTATE_FILE, text], [join(UNITS, 'logrotate.timer.d/toonfleet.conf'), HOURLY]);
  return files;
}

/** A user's ids, by the machine's own list; undefined when there is none of that name. */
function idsOf(name: string): [uid: number, gid: number] | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return line === undefined ? undefined : [Number(uid), Number(gid)];
}
