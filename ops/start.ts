// `toonfleet start`: everything of a role on this machine in the foreground, until Ctrl-C. Checks the ports, starts PM2
// with a home of our own, tells when pictures can come, and leaves no process, socket or pid file behind.

import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { PATHS } from '../config/contract.ts';
import { type LoadedSettings, loadSettings } from '../config/load.ts';
import { envNameOf } from '../config/schema.ts';
import { ownAgent, rosterAt } from './agents.ts';
import { appsOf, earlyEnv, pm2HomeOf, type Role, workerCount } from './apps.ts';
import { type LogLine, quietText, readLogLine, startFailure } from './log-lines.ts';
import { familyEnds, homeFault, killFamily, prepareHome, runPm2, spawnRuntime } from './pm2.ts';
import { freePort, neededPorts, portFaults } from './ports.ts';
import { usableCores } from './process/cores.ts';
import { usableSlots } from './process/devices.ts';
import { PACKAGE_ROOT } from './process/package.ts';
import { supervisorOf } from './supervisor/notify.ts';
import { type Lease, takeHome } from './tenancy.ts';
import { STANDARD } from './terminal.ts';

/** How a start is asked for. */
export interface StartOptions {
  readonly role: Role;
  /** Every log line, not only warnings and errors. */
  readonly verbose: boolean;
  readonly configFile: string | undefined;
}

/** How often to ask whether it is ready. */
const POLL_MS = 100;
const ASK_MS = 2_000;
/** Silence for so long makes a person wonder. */
const STILL_MS = 5_000;
/** A model that takes longer than this to load and warm up has hung. */
const READY_WITHIN_MS = 120_000;
/** A second Ctrl-C sooner than this is npm, which forwards the first one. */
const SECOND_SIGNAL_MS = 1_500;
/** How soon to notice that npm is gone. */
const PARENT_CHECK_MS = 500;
/** What PM2 itself needs to end beside its apps. */
const PM2_FAREWELL_MS = 5_000;

const { say, complain } = STANDARD;

/** Runs until it is stopped; the answer is the exit code. */
export async function start(options: StartOptions): Promise<number> {
  const settings = await settingsWithPorts(options);
  const home = pm2HomeOf(settings);
  const fault = homeFault(home);
  if (fault) {
    complain(fault);
    return 1;
  }
  const url = urlOf(settings.balancer.host, settings.balancer.port);
  const tenancy = await takeHome(home, url, say);
  if (tenancy.kind === 'running') {
    complain(tenancy.sentence);
    return 1;
  }
  try {
    const workers = workerCount(settings, usableSlots(settings));
    const faults = await portFaults(settings, options.role, workers);
    for (const text of faults) complain(text);
    return faults.length > 0 ? 1 : await run(settings, options, home, tenancy.lease);
  } finally {
    tenancy.lease.release();
  }
}

/** Settings in which every port 0 has become a free one, so that the processes and this one mean the same. */
async function settingsWithPorts({ role, configFile }: StartOptions): Promise<LoadedSettings> {
  const settings = loadSettings({ file: configFile });
  const open = neededPorts(settings, role).filter(({ port }) => port === 0);
  if (open.length === 0) return settings;
  for (const { setting, host } of open) process.env[envNameOf(setting)] = String(await freePort(host));
  return loadSettings({ file: configFile });
}

type Outcome =
  | { readonly kind: 'ready'; readonly ms: number }
  | { readonly kind: 'failed'; readonly sentence: string }
  | { readonly kind: 'stopped' };

async function run(
  settings: LoadedSettings,
  options: StartOptions,
  home: string,
  lease: Lease,
): Promise<number> {
  const cores = usableCores();
  const slots = usableSlots(settings);
  const apps = appsOf(settings, options.role, { root: PACKAGE_ROOT, cwd: process.cwd(), cores: slots });
  const began = performance.now();
  prepareHome(home);
  const runtime = spawnRuntime(home, apps, process.env, earlyEnv(settings));
  if (runtime.pid === undefined) {
    complain('PM2 could not be started.');
    return 1;
  }
  const family = { home, group: runtime.pid };
  lease.note(family.group);
  const exited = new Promise<void>((resolve) => runtime.once('close', () => resolve()));

  const recent: string[] = [];
  let waiting = true;
  const failed = new Promise<string>((resolve) => {
    const onLine = (text: string) => {
      const line = readLogLine(text);
      const failure = waiting ? startFailure(line) : undefined;
      if (failure) resolve(failure);
      const shown = options.verbose ? text : failure ? undefined : quietText(line);
      if (shown !== undefined) complain(shown);
      else keepRecent(recent, line);
    };
    for (const stream of [runtime.stdout, runtime.stderr])
      if (stream) createInterface({ input: stream }).on('line', onLine);
  });
  const stopped = new Promise<void>((resolve) => onStopSignal(resolve, () => killFamily(family)));

  const supervisor = supervisorOf(process.env);
  say(startingText(options.role, workerCount(settings, slots), cores));
  const over = new AbortController();
  const outcome = await Promise.race<Outcome>([
    becomesReady(settings, options.role, began, over.signal),
    failed.then((sentence) => ({ kind: 'failed', sentence })),
    exited.then(() => ({ kind: 'failed', sentence: ['PM2 ended:', ...recent].join('\n  ') })),
    stopped.then(() => ({ kind: 'stopped' })),
  ]);
  over.abort();
  waiting = false;

  let code = 0;
  if (outcome.kind === 'failed') {
    complain(outcome.sentence);
    code = 1;
  } else if (outcome.kind === 'ready') {
    say(readyText(settings, options.role, cores, outcome.ms));
    supervisor.ready(() => isAlive(settings, options.role));
    const end = await Promise.race([stopped.then(() => 'stopped'), exited.then(() => 'exited')]);
    if (end === 'exited') {
      complain(['PM2 ended by itself:', ...recent].join('\n  '));
      code = 1;
    }
  }
  const patienceMs = Math.max(...apps.map((app) => app.kill_timeout)) + PM2_FAREWELL_MS;
  if (runtime.exitCode === null && runtime.signalCode === null) {
    if (outcome.kind !== 'failed') say('stopping …');
    supervisor.stopping();
    await stopInOrder(home, family.group, options.role);
  }
  const inOrder = await familyEnds(family, patienceMs);
  if (!inOrder) complain('Some processes did not end in time and were killed.');
  if (code === 0) say('stopped');
  return code;
}

/** The front first, so that what it has taken in is still drawn; then the workers and the agent, then PM2 itself. */
async function stopInOrder(home: string, runtimePid: number, role: Role): Promise<void> {
  if (role === 'all') await runPm2(home, ['delete', 'balancer']);
  try {
    process.kill(runtimePid, 'SIGTERM');
  } catch {
    // It went by itself meanwhile.
  }
}

function onStopSignal(stop: () => void, kill: () => void): void {
  let first = 0;
  const heard = () => {
    if (first === 0) {
      first = Date.now();
      stop();
    } else if (Date.now() - first > SECOND_SIGNAL_MS) {
      kill();
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, heard);
  // npm, or the shell that it puts between, was killed alone: nobody is left who could stop this.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event !== undefined)
    setInterval(() => process.ppid !== parent && stop(), PARENT_CHECK_MS).unref();
  // Whoever read our output is gone (`npm start | head`), and with him the terminal from which this could be stopped.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', stop);
}

/** Asks until pictures can come, and tells now and then what is being waited for. */
async function becomesReady(
  settings: LoadedSettings,
  role: Role,
  began: number,
  over: AbortSignal,
): Promise<Outcome> {
  let told = began;
  while (!over.aborted) {
    if (await isReady(settings, role)) return { kind: 'ready', ms: performance.now() - began };
    const now = performance.now();
    if (now - began > READY_WITHIN_MS)
      return {
        kind: 'failed',
        sentence: `Not ready after ${READY_WITHIN_MS / 1000} s: ${await whatIsMissing(settings, role)}. Look at: toonfleet start --verbose`,
      };
    if (now - told > STILL_MS) {
      told = now;
      say(`still starting: ${await whatIsMissing(settings, role)}`);
    }
    await wait(POLL_MS);
  }
  return { kind: 'stopped' };
}

async function isReady(settings: LoadedSettings, role: Role): Promise<boolean> {
  switch (role) {
    case 'all':
      return (await ask(urlOf(settings.balancer.host, settings.balancer.port), PATHS.ready))?.ok ?? false;
    // A front may come up before its nodes; that it lives is all that this machine can do.
    case 'balancer':
      return (await ask(urlOf(settings.balancer.host, settings.balancer.port), PATHS.live))?.ok ?? false;
    case 'node':
      return (await rosterOf(settings))?.workers.some(({ state }) => state === 'ready') ?? false;
  }
}

/** Whether this machine's part still answers: what a supervisor restarts it for, which a busy or waiting part is not. */
async function isAlive(settings: LoadedSettings, role: Role): Promise<boolean> {
  const { balancer, agent } = settings;
  const base = role === 'node' ? urlOf(agent.host, agent.port) : urlOf(balancer.host, balancer.port);
  return (await ask(base, PATHS.live)) !== undefined;
}

async function whatIsMissing(settings: LoadedSettings, role: Role): Promise<string> {
  if (role === 'balancer') return 'the balancer does not answer yet';
  const roster = await rosterOf(settings);
  if (!roster) return 'the agent does not answer yet';
  const count = (state: string) => roster.workers.filter((worker) => worker.state === state).length;
  const ready = count('ready');
  if (ready > 0) return `${ready} workers are ready, the balancer does not use them yet`;
  return `no worker is ready yet (${count('loading')} loading their models)`;
}

const rosterOf = (settings: LoadedSettings) => rosterAt(ownAgent(settings), settings.node.key, ASK_MS);

async function ask(base: string, path: string) {
  try {
    return await fetch(base + path, { signal: AbortSignal.timeout(ASK_MS) });
  } catch {
    return undefined;
  }
}

/** Where a listener is reached from this machine. */
function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' || host === '::' || host === '127.0.0.1' ? 'localhost' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;

function startingText(role: Role, workers: number, cores: number): string {
  const node = `${plural(workers, 'worker')} on ${plural(cores, 'core')}`;
  switch (role) {
    case 'all':
      return `starting toonfleet: balancer, agent, ${node} …`;
    case 'balancer':
      return 'starting toonfleet: balancer …';
    case 'node':
      return `starting toonfleet: agent, ${node} …`;
  }
}

function readyText(settings: LoadedSettings, role: Role, cores: number, ms: number): string {
  const workers = `${plural(workerCount(settings, usableSlots(settings)), 'worker')}: ${plural(cores, 'core')}`;
  const seconds = (ms / 1000).toFixed(1);
  const front = urlOf(settings.balancer.host, settings.balancer.port);
  const curl = `  curl -F file=@photo.jpg ${front.replace('http://', '')}${PATHS.transform} -o anime.png`;
  switch (role) {
    case 'all':
      return `toonfleet is ready after ${seconds} s: ${front} (${workers})\n${curl}`;
    case 'balancer':
      return `toonfleet's balancer is up after ${seconds} s: ${front}\n${curl}`;
    case 'node':
      return `toonfleet's node is ready after ${seconds} s: agent ${urlOf(settings.agent.host, settings.agent.port)} (${workers})`;
  }
}

/** Keeps the last lines that were not shown; they may tell why PM2 ended. */
function keepRecent(recent: string[], line: LogLine): void {
  recent.push(line.kind === 'event' ? `${line.level} ${line.role}: ${line.message}` : line.text);
  if (recent.length > 20) recent.shift();
}
