// The `toonfleet` command: usage, flags, and which room answers. Rooms are loaded only for their own command, so that
// `toonfleet config check` never loads a model.

import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { EXIT_CONFIG, type LoadedSettings, loadSettings, SettingsError } from '../config/load.ts';
import { settingRows } from '../config/schema.ts';
import { formatDuration, formatSize } from '../config/units.ts';
import { appsOf, roles } from './apps.ts';
import { startDetached, stop } from './background.ts';
import { renderKeepalived, renderNginx } from './front/command.ts';
import { isKeyName, KEY_BYTES, madeKeyText, makeKey, NAME_RULE } from './keys.ts';
import { usableSlots } from './process/devices.ts';
import { PACKAGE_ROOT, VERSION } from './process/package.ts';
import { reload, reloadTargets } from './reload.ts';
import { start } from './start.ts';
import { EXIT_USAGE, STANDARD } from './terminal.ts';

const USAGE = `toonfleet turns photos into anime pictures on a fleet of plain VMs.

Examples:
  toonfleet start
  toonfleet reload worker --config /etc/toonfleet/toonfleet.yaml

Commands:
  start [--role all|balancer|node] [--verbose]   run in the foreground until Ctrl-C; --detach: in the background
  stop                                           end what runs from this data folder, in its order
  reload [worker|balancer|all]                   new processes take over, no request is lost (also: --balancer, --all)
  rollout TARBALL [--dry-run] [--canary 10]      a release goes to all nodes, one after the other (rollout --help)
  rollback [--to ID]                             the nodes go back to the release before
  status [--json]                                the fleet as a balancer sees it
  drain NODE [--wait 30s] | undrain NODE         take a node out of service for a while, and back
  node add ID URL | node remove ID               change the fleet at run time
  scale [N|auto] [--node ID]                     how many workers a VM has, or shall have
  autoscale [--once] [--dry-run]                 wakes and parks VMs by programs of yours, as the load needs it
  traffic [RELEASE=WEIGHT …] [--rollback]        divide traffic among releases, or show how it is divided
  pause | resume                                 hold all pictures in the queue; draw them
  keys make NAME [--priority batch] [--json]     an API key for a client, and its line for the settings
  models list|add|remove|verify …                what can draw here
  loadtest …                                     send load and report (loadtest --help)
  capacity …                                     how many VMs a load needs (capacity --help)
  bench NAME …                                   measure this product against its rivals (bench --help)
  nginx render [--whole] [--offline] [--out FILE]   nginx's configuration, to stand where the balancer stands
  keepalived render [--out FILE]                 keepalived's, for an address that two balancers share
  prometheus render [--out DIR]                  Prometheus's and Alertmanager's: whom to watch, when to call
  alert-relay                                    takes Alertmanager's notices to WeCom, short messages and a hook
  systemd render|install [--role ROLE] [--dry-run]  the unit that runs this machine's part under systemd
  logs [--fleet] [--request ID] [--follow] …     log lines of this VM or of all (logs --help)
  doctor [--fleet] [--json]                      what is wrong with this VM or with the fleet, and what to do
  backup create|list|verify|restore …            settings, state and models, kept for bad days (backup --help)
  release pack|verify …                          the tarball that a rollout ships (release --help)
  config check|show|docs                         judge, print or explain the settings
  version                                        print the version

Everywhere:
  --config FILE   the settings (default: TOONFLEET_CONFIG, then ./toonfleet.yaml)
  --help          this text
`;

/** What was typed makes no sense; the sentence says why. */
class UsageError extends Error {}

const say = (text: string) => process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
const { complain } = STANDARD;

/** Runs one command; the answer is the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    if (error instanceof UsageError) {
      complain(`${error.message}\nSee: toonfleet --help`);
      return EXIT_USAGE;
    }
    if (error instanceof SettingsError) {
      complain(error.message);
      return EXIT_CONFIG;
    }
    throw error;
  }
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const { configFile, rest } = takeConfig(argv);
  const [command, ...args] = rest;
  const settings = () => loadSettings({ file: configFile });
  switch (command) {
    case undefined:
      throw new UsageError('Which command?');
    case 'help':
    case '--help':
    case '-h':
      say(USAGE);
      return 0;
    case 'version':
    case '--version':
      parse(args, {});
      say(VERSION);
      return 0;
    case 'start': {
      const { values } = parse(args, {
        role: { type: 'string' },
        verbose: { type: 'boolean' },
        detach: { type: 'boolean' },
      });
      const role = oneOf(roles, values.role ?? 'all', '--role');
      if (values.detach) return startDetached(settings(), role, configFile);
      return start({
        role,
        verbose: values.verbose ?? false,
        configFile,
      });
    }
    case 'stop':
      parse(args, {});
      return stop(settings());
    case 'rollout':
    case 'rollback': {
      const { rolloutCommand } = await import('./rollout/command.ts');
      return rolloutCommand(command, args, settings);
    }
    case 'reload': {
      const { values, positionals } = parse(
        args,
        { worker: { type: 'boolean' }, balancer: { type: 'boolean' }, all: { type: 'boolean' } },
        1,
      );
      const named = [...positionals, ...reloadTargets.filter((target) => values[target])];
      if (named.length > 1) throw new UsageError(`reload: ${named.join(' and ')}; say one, such as all.`);
      const target = oneOf(reloadTargets, named[0] ?? 'worker', 'reload');
      const fault = target === 'worker' ? undefined : await faultOfState(settings());
      if (fault === undefined) return reload(target, settings());
      complain(`${fault} Nothing was reloaded.`);
      return 1;
    }
    case 'autoscale': {
      const { autoscaleCommand } = await import('./autoscale/command.ts');
      return autoscaleCommand(args, settings);
    }
    case 'scale': {
      const { scaleCommand } = await import('./scale.ts');
      return scaleCommand(args, settings);
    }
    case 'status':
    case 'drain':
    case 'undrain':
    case 'pause':
    case 'resume':
    case 'traffic':
    case 'node': {
      const { fleetCommand } = await import('./fleet.ts');
      return fleetCommand(command, args, settings);
    }
    case 'doctor': {
      const { doctorCommand } = await import('./doctor/command.ts');
      const { readCertificate } = await import('../balancer/door/certificate.ts');
      const { modelFiles } = await import('../server/model/entries/installed.ts');
      const around = { env: process.env, cwd: process.cwd(), rooms: { readCertificate, modelFiles } };
      return doctorCommand(args, settings, around);
    }
    case 'logs': {
      const { logsCommand } = await import('./logs/command.ts');
      return logsCommand(args, settings);
    }
    case 'config': {
      const { positionals } = parse(args, {}, 1);
      return config(oneOf(['check', 'show', 'docs'] as const, positionals[0] ?? '', 'config'), settings);
    }
    case 'systemd': {
      const text = { type: 'string' } as const;
      const { values, positionals } = parse(
        args,
        {
          role: text,
          root: text,
          user: text,
          'data-dir': text,
          'dry-run': { type: 'boolean' },
          restart: { type: 'boolean' },
          timer: { type: 'boolean' },
        },
        1,
      );
      const { installUnit, renderTimer, renderUnit, unitConfig } = await import('./supervisor/command.ts');
      const { unitRoles } = await import('./supervisor/unit.ts');
      const options = {
        role: oneOf(unitRoles, values.role ?? 'all', '--role'),
        root: values.root,
        user: values.user,
        config: configFile,
        dataDir: values['data-dir'],
        dryRun: values['dry-run'] ?? false,
        restart: values.restart ?? false,
      };
      const what = oneOf(['render', 'install'] as const, positionals[0] ?? '', 'systemd');
      // Of a file that the service does not read the unit would have other secrets, ports and times.
      const unitSettings = loadSettings({ file: unitConfig(configFile) });
      if (what === 'install') return installUnit(unitSettings, options);
      const rendered = values.timer
        ? renderTimer(unitSettings, options.role)
        : renderUnit(unitSettings, options);
      if (rendered === undefined) throw new UsageError(`The unit of role ${options.role} has no timer.`);
      say(rendered);
      return 0;
    }
    case 'keys':
      return keys(args);
    case 'nginx': {
      const { values, positionals } = parse(
        args,
        { out: { type: 'string' }, whole: { type: 'boolean' }, offline: { type: 'boolean' } },
        1,
      );
      oneOf(['render'] as const, positionals[0] ?? '', 'nginx');
      return renderNginx(settings(), {
        out: values.out,
        whole: values.whole ?? false,
        offline: values.offline ?? false,
      });
    }
    case 'keepalived': {
      const { values, positionals } = parse(args, { out: { type: 'string' } }, 1);
      oneOf(['render'] as const, positionals[0] ?? '', 'keepalived');
      return renderKeepalived(settings(), values.out);
    }
    case 'prometheus': {
      const { values, positionals } = parse(args, { out: { type: 'string' } }, 1);
      oneOf(['render'] as const, positionals[0] ?? '', 'prometheus');
      const { renderPrometheus } = await import('./alerts/render.ts');
      return renderPrometheus(loadSettings({ file: configFile, alertSecrets: true }), values.out);
    }
    case 'alert-relay': {
      parse(args, {});
      const { runRelay } = await import('./alerts/relay/relay.ts');
      await runRelay(configFile);
      return 0;
    }
    case 'models': {
      const { modelsCommand } = await import('../server/model/commands/command.ts');
      return modelsCommand(args, settings());
    }
    case 'loadtest': {
      const { loadtestCommand } = await import('../loadtest/command.ts');
      return loadtestCommand(args);
    }
    case 'capacity': {
      const { capacityCommand } = await import('../loadtest/command.ts');
      return capacityCommand(args);
    }
    case 'bench': {
      const { benchCommand } = await import('../loadtest/bench/command.ts');
      return benchCommand(args);
    }
    case 'backup': {
      const { backupCommand } = await import('./backup/command.ts');
      return backupCommand(args, settings);
    }
    case 'release': {
      const { releaseCommand } = await import('./release/command.ts');
      return releaseCommand(args);
    }
    // For ops/ecosystem.config.cjs; prints nothing but JSON.
    case 'pm2-apps': {
      const { values } = parse(args, { role: { type: 'string' }, root: { type: 'string' } });
      const role = oneOf(roles, values.role ?? 'all', '--role');
      const places = {
        root: values.root ?? PACKAGE_ROOT,
        cwd: process.cwd(),
        cores: usableSlots(settings()),
      };
      say(JSON.stringify(appsOf(settings(), role, places)));
      return 0;
    }
    default:
      throw new UsageError(`There is no command "${command}".`);
  }
}

/** A new balancer that cannot read its state would never get ready, and PM2 cannot take a reload back. */
async function faultOfState({ data_dir }: LoadedSettings): Promise<string | undefined> {
  const { StateFile } = await import('../balancer/traffic/state.ts');
  try {
    StateFile.check(StateFile.pathIn(data_dir));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Takes `--config FILE` out of the arguments, wherever it stands. */
function takeConfig(argv: readonly string[]): { configFile: string | undefined; rest: string[] } {
  const rest = [...argv];
  const at = rest.findIndex((arg) => arg === '--config' || arg.startsWith('--config='));
  if (at < 0) return { configFile: undefined, rest };
  const [flag = ''] = rest.splice(at, 1);
  const configFile = flag.startsWith('--config=') ? flag.slice('--config='.length) : rest.splice(at, 1)[0];
  if (!configFile) throw new UsageError('--config needs a file.');
  return { configFile, rest };
}

type Flags = Record<string, { readonly type: 'string' | 'boolean' }>;

/** Reads flags and at most so many words; anything else is refused. */
function parse<F extends Flags>(args: readonly string[], options: F, words = 0) {
  try {
    const parsed = parseArgs({ args: [...args], options, allowPositionals: words > 0, strict: true });
    if (parsed.positionals.length > words)
      throw new Error(`"${parsed.positionals[words]}" is one word too many.`);
    return parsed;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function oneOf<const T extends readonly string[]>(allowed: T, given: string, what: string): T[number] {
  if (allowed.includes(given)) return given;
  throw new UsageError(`${what}: found "${given}"; allowed: ${allowed.join(', ')}.`);
}

function keys(args: readonly string[]): number {
  const { values, positionals } = parse(args, { priority: { type: 'string' }, json: { type: 'boolean' } }, 2);
  oneOf(['make'] as const, positionals[0] ?? '', 'keys');
  const name = positionals[1] ?? '';
  if (!isKeyName(name)) throw new UsageError(`keys make: found the name "${name}"; allowed: ${NAME_RULE}.`);
  const priority = oneOf(['interactive', 'batch'] as const, values.priority ?? 'interactive', '--priority');
  const made = makeKey(name, randomBytes(KEY_BYTES));
  say(values.json ? JSON.stringify({ ...made, priority }) : madeKeyText(made, priority));
  return 0;
}

function config(what: 'check' | 'show' | 'docs', settings: () => LoadedSettings): number {
  switch (what) {
    case 'check':
      say(`The settings are good (${settings().source ?? 'defaults and environment; no toonfleet.yaml'}).`);
      return 0;
    case 'show':
      say(shownSettings(settings()));
      return 0;
    case 'docs':
      say(settingsTable());
      return 0;
  }
}

/** The settings in force as YAML that would set them again; secrets only by whether they are set. */
function shownSettings(settings: LoadedSettings): string {
  const tree: Record<string, unknown> = {};
  for (const { name, kind, secret } of settingRows()) {
    const keys = name.split('.');
    const value = keys.reduce<unknown>(
      (room, key) => (room as Record<string, unknown> | undefined)?.[key],
      settings,
    );
    if (value === undefined || value === '') continue;
    let room = tree;
    for (const key of keys.slice(0, -1)) {
      room[key] ??= {};
      room = room[key] as Record<string, unknown>;
    }
    room[keys.at(-1) ?? name] = secret ? '(set, not shown)' : readable(kind, value);
  }
  return `# from ${settings.source ?? 'defaults and environment'}\n${stringify(tree)}`;
}

function readable(kind: string, value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (kind === 'duration') return formatDuration(value);
  return kind === 'size' ? formatSize(value) : value;
}

/** All settings as a Markdown table. */
function settingsTable(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = settingRows().map(
    ({ name, sentence, allowed, fallback }) =>
      `| \`${name}\` | ${cell(sentence)} | ${cell(allowed)} | ${cell(fallback)} |`,
  );
  return ['| setting | what it does | allowed | default |', '|---|---|---|---|', ...rows].join('\n');
}
