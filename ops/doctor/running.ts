// Whether what PM2 runs is what the settings ask for, whether its ports are its own, and whether systemd would let it end in
// order. Pure: probe.ts looks.

import type { App } from '../apps.ts';
import { bad, type Finding, ok, warn } from './finding.ts';

/** One process as PM2 tells it. */
export interface Pm2Process {
  readonly name: string;
  readonly pid: number;
  readonly status: string;
  readonly exec_mode: string;
  readonly kill_timeout: number | undefined;
  readonly listen_timeout: number | undefined;
  readonly wait_ready: boolean;
  readonly merge_logs: boolean;
  readonly max_memory_restart: number | undefined;
  readonly restarts: number;
  readonly upMs: number;
}

/** What a process is for a short while, in every start and reload. */
const PASSING = new Set(['launching', 'stopping']);
/** So many restarts of a process that is younger than this are a loop. */
const RESTARTS = 5;
const YOUNG_MS = 10 * 60_000;

/** What decides on the number of workers. */
export interface WorkerRoom {
  readonly cores: number;
  /** Whether the agent scales them by itself. */
  readonly scaled: boolean;
}

/** @param wanted The apps as the settings of now describe them. */
export function judgeApps(
  processes: readonly Pm2Process[],
  wanted: readonly App[],
  machine: WorkerRoom,
): Finding[] {
  return wanted.flatMap((app) => {
    const own = processes.filter(({ name }) => name === app.name);
    const faults = [...countFaults(own, app, machine), ...own.flatMap((running) => appFaults(running, app))];
    // Workers are alike: what is wrong with all of them is told once.
    const told = new Map(faults.map((finding) => [finding.found, finding]));
    return told.size > 0
      ? [...told.values()]
      : [ok('PM2', `${app.name}: ${own.length} online, as the settings ask for`)];
  });
}

function countFaults(own: readonly Pm2Process[], app: App, { cores, scaled }: WorkerRoom): Finding[] {
  const check = 'PM2';
  if (own.length === 0)
    return [
      bad(
        check,
        `PM2 does not run the ${app.name}`,
        'stop and start: toonfleet start, or systemctl restart toonfleet',
      ),
    ];
  const passing = own.filter(({ status }) => PASSING.has(status)).length;
  const down = own.filter(({ status }) => status !== 'online').length - passing;
  const faults: Finding[] = [];
  if (down > 0)
    faults.push(
      bad(
        check,
        `${down} of ${own.length} ${app.name} processes are not online`,
        `look why: toonfleet logs --app ${app.name} --level warn`,
      ),
    );
  if (passing > 0)
    faults.push(
      warn(
        check,
        `${passing} of ${own.length} ${app.name} processes are just starting or ending`,
        'so it is in a reload; look again in a minute',
      ),
    );
  // More than the settings ask for is a reload, or somebody's toonfleet scale.
  if (app.name === 'worker' && own.length < app.instances && !scaled)
    faults.push(
      warn(
        check,
        `${own.length} workers run, the settings ask for ${app.instances}`,
        'the number belongs to the PM2 that was started with it: stop and start, or toonfleet scale',
      ),
    );
  if (app.name === 'worker' && app.instances > cores)
    faults.push(
      warn(
        check,
        `${app.instances} workers share ${cores} cores`,
        'each picture then takes longer and none is gained: worker.count: auto',
      ),
    );
  return faults;
}

function appFaults(running: Pm2Process, app: App): Finding[] {
  const restart = 'PM2 keeps what it was started with: stop and start, so that it reads the settings anew';
  const check = 'PM2';
  const faults: Finding[] = [];
  const mode = app.exec_mode === 'cluster' ? 'cluster_mode' : 'fork_mode';
  if (running.exec_mode !== mode)
    faults.push(
      bad(
        check,
        `the ${app.name} runs in ${running.exec_mode}, not ${mode}`,
        `a reload would drop connections; ${restart}`,
      ),
    );
  if (running.kill_timeout === undefined || running.kill_timeout < app.kill_timeout)
    faults.push(
      bad(
        check,
        `the ${app.name}'s kill_timeout is ${running.kill_timeout ?? 1600} ms, its drain may take ${app.kill_timeout} ms`,
        `PM2 would kill it with pictures in hand; ${restart}`,
      ),
    );
  if (app.wait_ready && (running.listen_timeout ?? 3000) < app.listen_timeout)
    faults.push(
      bad(
        check,
        `the ${app.name}'s listen_timeout is ${running.listen_timeout ?? 3000} ms, and ${app.listen_timeout} ms are needed`,
        `PM2 would end the old one before the new one is ready; ${restart}`,
      ),
    );
  if (app.wait_ready && !running.wait_ready)
    faults.push(
      bad(
        check,
        `PM2 does not wait for the ${app.name} to be ready`,
        `a reload would lose requests; ${restart}`,
      ),
    );
  if (!running.merge_logs)
    faults.push(
      warn(
        check,
        `the ${app.name}'s logs are not merged`,
        `toonfleet logs and logrotate look at one file an app; ${restart}`,
      ),
    );
  if (running.max_memory_restart !== undefined)
    faults.push(
      warn(
        check,
        `the ${app.name} has PM2's max_memory_restart`,
        'PM2 ends it with pictures in hand; use worker.max_memory, which drains first',
      ),
    );
  if (running.restarts >= RESTARTS && running.upMs < YOUNG_MS)
    faults.push(
      warn(
        'restarts',
        `a ${app.name} was restarted ${running.restarts} times, the last time ${Math.round(running.upMs / 1000)} s ago`,
        `look why: toonfleet logs --app ${app.name} --level warn`,
      ),
    );
  return faults;
}

/** A port that the role needs. */
export interface PortState {
  readonly setting: string;
  readonly port: number;
  /** Why it cannot be had, as a sentence with what to do; undefined when it is free. */
  readonly fault: string | undefined;
  /** Who listens there, where that can be seen. */
  readonly holder: string | undefined;
  /** Whether that is the PM2 of this installation. */
  readonly ours: boolean;
}

/** @param running Whether the PM2 of this installation runs the app that has this port. */
export function judgePort({ setting, port, fault, holder, ours }: PortState, running: boolean): Finding {
  const check = 'ports';
  const name = `port ${port} (${setting})`;
  if (ours) return ok(check, `${name} is ours`);
  if (fault === undefined)
    return running
      ? bad(
          check,
          `nobody listens on ${name}, although its process runs`,
          'look why: toonfleet logs --level warn',
        )
      : ok(check, `${name} is free`);
  return bad(
    check,
    `${fault}${holder === undefined ? '' : ` It is ${holder}.`}`,
    'stop that program, or set another port',
  );
}

/** What systemd has of us. */
export interface Units {
  /** Whether systemd runs this machine. */
  readonly systemd: boolean;
  /** Our units by their names, with their texts. */
  readonly units: Readonly<Record<string, string>>;
}

export function judgeUnits({ systemd, units }: Units, apps: readonly App[]): Finding[] {
  const check = 'systemd';
  const names = Object.keys(units);
  if (names.length === 0)
    return [
      systemd
        ? warn(
            check,
            'no unit of ours: after a reboot nothing starts',
            'toonfleet systemd install --role ROLE',
          )
        : ok(check, 'does not run this machine; see to it that something starts toonfleet after a reboot'),
    ];
  const neededS = apps.reduce((sum, app) => sum + app.kill_timeout, 0) / 1000;
  return names.map((name) => {
    const stopS = Number(/^TimeoutStopSec=(\d+)$/m.exec(units[name] ?? '')?.[1] ?? 90);
    return stopS < neededS
      ? bad(
          check,
          `${name} gives ${stopS} s to stop, and draining may take ${neededS} s`,
          'systemd would kill what still draws; render it anew: toonfleet systemd install',
        )
      : ok(check, `${name}: ${stopS} s to stop, ${neededS} s needed`);
  });
}
