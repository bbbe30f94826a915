// `toonfleet doctor`: looks at this machine, or at all machines of the fleet, judges what it finds and says what to do.
// Probing is in probe*.ts, judging beside it; nothing is changed.

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type LoadedSettings, SettingsError } from '../../config/load.ts';
import { fleetAgents } from '../agents.ts';
import { appsOf, earlyEnv, pm2HomeOf, type Role, roles, workerCount } from '../apps.ts';
import { usableCores } from '../process/cores.ts';
import { usableSlots } from '../process/devices.ts';
import { PACKAGE_ROOT, VERSION } from '../process/package.ts';
import { EXIT_USAGE, STANDARD, type Terminal } from '../terminal.ts';
import { type FoundCertificate, judgeCertificate } from './certificate.ts';
import { bad, type Finding, ok, type Report, warn } from './finding.ts';
import {
  type AskedNode,
  judgeClocks,
  judgeNode,
  judgeNodeKey,
  judgeReleases,
  judgeTimeZones,
} from './fleet.ts';
import {
  judgeAllocator,
  judgeFolder,
  judgeLimits,
  judgeLogs,
  judgeMemory,
  judgeNode as judgeNodeVersion,
  judgeSwap,
  judgeTimeZone,
  judgeVolume,
} from './machine.ts';
import { judgeModelFiles, judgeSameModels, type ModelFile } from './model-files.ts';
import {
  probeAllocator,
  probeFolder,
  probeLimits,
  probeLogs,
  probeMemory,
  probeModelFiles,
  probePm2,
  probePorts,
  probeUnits,
  probeVolumes,
} from './probe.ts';
import { probeNodes, probeReport } from './probe-fleet.ts';
import { type Examination, examinationText, exitCodeOf } from './report.ts';
import { judgeApps, judgePort, judgeUnits, type Pm2Process } from './running.ts';

const USAGE = `toonfleet doctor [--fleet] [--role ${roles.join('|')}] [--json]

Looks at this VM: settings, ports, PM2, models, certificate, disk, memory, limits, time zone, and from a balancer whether
every node is reached and takes the node key. With --fleet every node looks at itself as well, and clocks, releases and
models are compared. It changes nothing. Exit code 0 when nothing is bad, 1 when something is.

  --role ROLE   what this VM is meant to do (default: what runs here, else TOONFLEET_ROLE, else all)
  --json        for programs

Example:
  toonfleet doctor --fleet`;

const UNITS = '/etc/systemd/system';

/** What other rooms bring along; loaded by the command line alone. */
export interface Rooms {
  readonly readCertificate: (files: { cert_file: string; key_file: string }) => Promise<FoundCertificate>;
  /** The files that the manifests name. @throws {Error} when a manifest cannot be read. */
  readonly modelFiles: (modelsDir: string) => readonly Omit<ModelFile, 'actual'>[];
}

/** What the command gets from around it. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly rooms: Rooms;
}

/** Runs `toonfleet doctor ARGS`; the result is the exit code. */
export async function doctorCommand(
  args: readonly string[],
  loadSettings: () => LoadedSettings,
  around: Surroundings,
  { say, complain }: Terminal = STANDARD,
): Promise<number> {
  let values: ReturnType<typeof read>;
  try {
    values = read(args);
  } catch (error) {
    complain(`${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (values.help) {
    say(USAGE);
    return 0;
  }
  const examination = await examine(values, loadSettings, around);
  const [only] = examination.machines;
  if (!values.json) say(examinationText(examination));
  else say(JSON.stringify(values.fleet ? examination : only, null, 2));
  return exitCodeOf(examination);
}

function read(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean', short: 'h' },
      fleet: { type: 'boolean' },
      json: { type: 'boolean' },
      role: { type: 'string' },
    },
  });
  const { role } = values;
  if (role !== undefined && !isRole(role))
    throw new Error(`--role: found "${role}"; allowed: ${roles.join(', ')}.`);
  return { ...values, role };
}

async function examine(
  { fleet, role }: { readonly fleet?: boolean | undefined; readonly role: Role | undefined },
  loadSettings: () => LoadedSettings,
  around: Surroundings,
): Promise<Examination> {
  let settings: LoadedSettings;
  try {
    settings = loadSettings();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const findings = error.faults.map((fault) =>
      bad('settings', fault, 'nothing starts with this: toonfleet config check, toonfleet config docs'),
    );
    const time_zone = ownTimeZone();
    return { fleet: [], machines: [{ node: 'this VM', release: VERSION, time_zone, models: {}, findings }] };
  }
  const own = await examineMachine(settings, role, around);
  const front = own.role !== 'node';
  const agents = fleet || front ? await fleetAgents(settings) : [];
  const all = await probeNodes(agents, settings.node.key);
  // Where nothing runs yet there is nobody to be reached on this very machine.
  const nodes = own.running
    ? all
    : all.filter(({ agent, asked }) => asked.kind !== 'silent' || !isLocal(agent));
  const keyed = settings.node.key !== undefined;
  const seen = [
    ...nodes.flatMap((node) => judgeNode(node, keyed)),
    ...judgeClocks(nodes),
    ...judgeReleases(nodes, VERSION),
  ];
  if (!fleet)
    return { fleet: [], machines: [{ ...own.report, findings: [...own.report.findings, ...seen] }] };
  const { reports, findings } = await reportsOf(nodes, own.report, settings);
  const machines = [own.report, ...reports];
  return {
    fleet: [
      ...seen,
      ...findings,
      ...judgeSameModels(machines.filter(({ models }) => Object.keys(models).length > 0)),
      ...judgeTimeZones(machines),
    ],
    machines,
  };
}

/** What the other machines say of themselves. */
async function reportsOf(
  nodes: readonly AskedNode[],
  own: Report,
  settings: LoadedSettings,
): Promise<{ reports: Report[]; findings: Finding[] }> {
  const others = nodes.filter(({ asked, name }) => asked.kind === 'answer' && name !== own.node);
  const told = await Promise.all(others.map(({ agent }) => probeReport(agent, settings.node.key)));
  return {
    reports: told.flatMap((each) => ('report' in each ? [each.report] : [])),
    findings: told.flatMap((each, index) =>
      'why' in each
        ? [
            warn(
              'doctor',
              `${others[index]?.name} gave no report: ${each.why}`,
              'run toonfleet doctor on that machine',
            ),
          ]
        : [],
    ),
  };
}

interface Examined {
  readonly report: Report;
  readonly role: Role;
  readonly running: boolean;
}

async function examineMachine(
  settings: LoadedSettings,
  wish: Role | undefined,
  { env, cwd, rooms }: Surroundings,
): Promise<Examined> {
  const home = pm2HomeOf(settings);
  const cores = usableCores();
  const now = Date.now();
  const processes = await probePm2(home, now);
  const role = wish ?? roleOf(processes) ?? (isRole(env.TOONFLEET_ROLE) ? env.TOONFLEET_ROLE : 'all');
  const [front, draws] = [role !== 'node', role !== 'balancer'];
  const slots = usableSlots(settings);
  const apps = appsOf(settings, role, { root: PACKAGE_ROOT, cwd, cores: slots });
  const memory = await probeMemory();
  const workers = draws ? workerCount(settings, slots) : 0;
  const worker = processes?.find(({ name }) => name === 'worker')?.pid;
  const busiest = processes?.find(({ name }) => name === (front ? 'balancer' : 'worker'));
  const limits = await probeLimits(busiest);
  const models = draws ? await examineModels(settings, rooms) : { findings: [], digests: {} };
  const time_zone = ownTimeZone();
  const findings: Finding[] = [
    ok('settings', `${settings.source ?? 'defaults and environment'}: good`),
    judgeNodeVersion(process.versions.node, now),
    ...(processes === undefined
      ? [ok('PM2', `nothing runs here with data_dir ${settings.data_dir}`)]
      : judgeApps(processes, apps, { cores, scaled: settings.worker.scale.enabled })),
    ...(await probePorts(settings, role, home)).map((port) =>
      judgePort(
        port,
        processes?.some(({ name, status }) => name === appOfPort(port.setting) && status === 'online') ??
          false,
      ),
    ),
    ...judgeUnits(await probeUnits(UNITS), apps),
    ...models.findings,
    judgeNodeKey({
      hosts: draws
        ? [
            { setting: 'agent.host', host: settings.agent.host },
            { setting: 'worker.host', host: settings.worker.host },
          ]
        : [],
      keyed: settings.node.key !== undefined,
    }),
    ...(front ? await examineFront(settings, rooms, now) : []),
    ...(await examineFolders(settings, front, draws)),
    judgeLogs({ turnAtBytes: settings.logs.turn_at, ...(await probeLogs(join(home, 'logs'))) }),
    judgeMemory(memory, workers, front ? settings.balancer.buffer_budget : 0),
    judgeSwap(memory),
    ...(limits ? judgeLimits(limits, front, cores) : []),
    judgeAllocator(await probeAllocator(worker), earlyEnv(settings)),
    judgeTimeZone(env.TZ, time_zone, isTimeZone(env.TZ ?? '')),
  ];
  return {
    report: { node: settings.node.name, release: VERSION, time_zone, models: models.digests, findings },
    role,
    running: processes !== undefined,
  };
}

async function examineModels({ models }: LoadedSettings, rooms: Rooms) {
  try {
    const files = await probeModelFiles(rooms.modelFiles(models.dir));
    const digests: Record<string, string> = {};
    for (const { model, actual, source } of files) if (source) digests[model] = actual ?? 'none';
    return { findings: judgeModelFiles(files), digests };
  } catch (error) {
    return {
      findings: [bad('models', (error as Error).message, 'mend the manifest, or bring the models again')],
      digests: {},
    };
  }
}

async function examineFront({ balancer }: LoadedSettings, rooms: Rooms, now: number): Promise<Finding[]> {
  const { tls, admin_token: token } = balancer;
  return [
    ...(tls.cert_file === ''
      ? []
      : [judgeCertificate(await rooms.readCertificate(tls), tls.acme_dir !== '', now)]),
    token === undefined
      ? warn(
          'admin token',
          'none: status, drain, traffic and rollouts cannot speak to this balancer',
          'TOONFLEET_BALANCER__ADMIN_TOKEN, or balancer.admin_token_file (openssl rand -hex 24)',
        )
      : ok('admin token', 'set'),
  ];
}

/** Folders that are written to, and the disks below them with what may be put there. */
async function examineFolders(settings: LoadedSettings, front: boolean, draws: boolean): Promise<Finding[]> {
  const { data_dir: data, results, balancer } = settings;
  const used: { folder: string; use: string; bytes: number }[] = [
    { folder: data, use: 'state and logs', bytes: 0 },
    ...(front
      ? [{ folder: join(data, 'uploads'), use: 'uploads in passing', bytes: balancer.spill_budget }]
      : []),
    ...(draws ? [{ folder: results.dir, use: 'stored results', bytes: results.budget }] : []),
    { folder: tmpdir(), use: 'temporary files', bytes: 0 },
  ];
  const written = await Promise.all(used.map(({ folder, use }) => probeFolder(folder, use)));
  const volumes = await probeVolumes(used.map(({ folder }) => folder));
  return [
    ...written.map(judgeFolder),
    ...volumes.map((volume) => {
      const wanted = used.filter(({ folder }) => volume.folders.includes(folder));
      return judgeVolume(
        volume,
        wanted.reduce((sum, { bytes }) => sum + bytes, 0),
      );
    }),
  ];
}

/** What a machine does, by what PM2 runs there. */
function roleOf(processes: readonly Pm2Process[] | undefined): Role | undefined {
  const names = new Set(processes?.map(({ name }) => name));
  if (names.has('balancer')) return names.has('worker') || names.has('agent') ? 'all' : 'balancer';
  return names.has('worker') || names.has('agent') ? 'node' : undefined;
}

const appOfPort = (setting: string) => setting.split('.')[0];

const isRole = (text: string | undefined): text is Role => roles.some((role) => role === text);

const isLocal = (agent: string) => /^(127\.|localhost$|\[::1\]$)/.test(new URL(agent).hostname);

/** The zone that Node goes by; it has no name for one that TZ got wrong, and takes UTC. */
const ownTimeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
