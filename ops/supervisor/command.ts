// `toonfleet systemd render|install`: shows a role's unit, or puts it on this machine with its user and folders.
// The only file here that touches the machine; what a unit says stands in unit.ts.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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
}

const UNITS = '/etc/systemd/system';
const USER = 'toonfleet';
const CONFIG = '/etc/toonfleet/toonfleet.yaml';
/** Where the service keeps its data; the plays of rollouts say the same. */
export const DATA = '/var/lib/toonfleet';
/** Where logrotate looks for what to turn; other packages put files there on machines that have no logrotate. */
const LOGROTATE_FILE = '/etc/logrotate.d/toonfleet';
const LOGROTATE_PROGRAMS = ['/usr/sbin/logrotate', '/usr/bin/logrotate'];
const hasLogrotate = () => LOGROTATE_PROGRAMS.some((path) => existsSync(path));
/** Debian's logrotate looks once a day, and a busy day may fill a disk; what others say of their own logs still holds. */
const HOURLY = '[Timer]\nOnCalendar=\nOnCalendar=hourly\nAccuracySec=1min\n';
/** journald may take a tenth of the disk by itself; every line stands in the log files as well. */
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

/** The unit's text, as it would stand on this machine. */
export function renderUnit(
  settings: LoadedSettings,
  options: SystemdOptions,
  logrotate = logrotateTurns(existsSync),
): string {
  const root = resolve(options.root ?? PACKAGE_ROOT);
  const places = {
    root,
    node: process.execPath,
    user: options.user ?? USER,
    config: resolve(options.config ?? CONFIG),
    dataDir: resolve(options.dataDir ?? DATA),
    logrotate,
    cores: usableSlots(settings),
  };
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
  const user = options.user ?? USER;
  const config = resolve(options.config ?? CONFIG);
  const dataDir = resolve(options.dataDir ?? DATA);
  const unit = unitNameOf(options.role);
  if (!options.dryRun && process.getuid?.() !== 0) {
    complain('toonfleet systemd install writes to /etc: run it as root, or look first: --dry-run');
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
  const fault = options.dryRun ? undefined : outOfReach(user, resolve(options.root ?? PACKAGE_ROOT));
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
  const enabled = [...(isTimed(role) ? [] : [unit]), ...timed.map(timerNameOf)];
  for (const [path, text] of logFiles(user, dataDir, resolve(options.root ?? PACKAGE_ROOT), settings))
    step(path, () => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode: 0o644 });
    });
  if (!existsSync('/run/systemd/system')) {
    say(`systemd does not run this machine now; when it does: systemctl enable --now ${enabled.join(' ')}`);
    return 0;
  }
  step(`systemctl enable --now ${enabled.join(' ')}`, () => {
    execFileSync('systemctl', ['daemon-reload'], { stdio: 'inherit' });
    // They read their new bounds only when they begin; the journal's lines wait meanwhile.
    execFileSync('systemctl', ['try-restart', 'systemd-journald.service'], { stdio: 'inherit' });
    if (hasLogrotate()) execFileSync('systemctl', ['try-restart', 'logrotate.timer'], { stdio: 'inherit' });
    execFileSync('systemctl', ['enable', '--now', ...enabled], { stdio: 'inherit' });
  });
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

/** What keeps the logs in bounds: files by their paths. A bound on the journal that is there already stays. */
function logFiles(
  user: string,
  dataDir: string,
  root: string,
  settings: LoadedSettings,
): [path: string, text: string][] {
  const files: [string, string][] = [];
  const journal = '/etc/systemd/journald.conf.d/60-toonfleet.conf';
  if (!existsSync(journal)) files.push([journal, JOURNAL]);
  if (!hasLogrotate()) return files;
  const template = readFileSync(join(PACKAGE_ROOT, 'ops/logs', LOG_PROGRAMS.logrotate), 'utf8');
  const places = { dataDir, node: process.execPath, root, user, vm: settings.node.name, to: undefined };
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
