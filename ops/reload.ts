// `toonfleet reload`: new processes take over from old ones, one by one, and no request is lost. Nothing is touched
// before the settings and the models have been found good, since PM2 cannot take a reload back.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { NodeRoster } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import { ownAgent, rosterAt } from './agents.ts';
import { type AppName, pm2HomeOf } from './apps.ts';
import { pm2Answers, pm2CommandLine, runPm2 } from './pm2.ts';
import { takeChangeLock } from './process/change-lock.ts';
import { PACKAGE_ROOT } from './process/package.ts';
import { STANDARD } from './terminal.ts';

/** What can be reloaded. */
export const reloadTargets = ['worker', 'balancer', 'all'] as const;
export type ReloadTarget = (typeof reloadTargets)[number];

/** Longer than a worker's loading and its drain together. */
const LOCK_WITHIN_MS = 300_000;
const LOCK_LOOK_MS = 250;
const ASK_MS = 2_000;

const { say, complain } = STANDARD;

/** PM2's commands for a target. The agent has no second port to stand beside itself, and needs none: see ops/agent. */
export function reloadCommands(target: ReloadTarget): string[][] {
  const reload = (app: AppName) => ['reload', app, '--parallel', '1'];
  switch (target) {
    case 'worker':
      return [reload('worker')];
    case 'balancer':
      return [reload('balancer')];
    case 'all':
      return [['restart', 'agent'], reload('worker'), reload('balancer')];
  }
}

/** Reloads; the answer is the exit code. */
export async function reload(target: ReloadTarget, settings: LoadedSettings): Promise<number> {
  const home = pm2HomeOf(settings);
  if (!(await pm2Answers(home))) {
    complain(`Nothing runs with the PM2 home ${home}. Start it with: toonfleet start`);
    return 1;
  }
  const lock = await lockFor(home, `a reload of ${target}`);
  if (!lock) return 1;
  try {
    return await reloadLocked(target, settings, home);
  } finally {
    lock.release();
  }
}

/** Waits for a change that is under way, such as a scaling, which is over when its last worker has drained. */
async function lockFor(home: string, what: string) {
  const until = Date.now() + LOCK_WITHIN_MS;
  for (let told = false; ; told = true) {
    const lock = takeChangeLock(home, what);
    if (lock.kind === 'taken') return lock;
    if (Date.now() > until) {
      complain(`${lock.sentence}, so nothing was reloaded.`);
      return undefined;
    }
    if (!told) say(`waiting: ${lock.sentence}`);
    await wait(LOCK_LOOK_MS);
  }
}

async function reloadLocked(target: ReloadTarget, settings: LoadedSettings, home: string): Promise<number> {
  if (target !== 'balancer' && !(await modelsAreGood(settings))) {
    complain('A model is not what it should be, so nothing was reloaded; the running workers go on serving.');
    return 1;
  }
  const before = await rosterOf(settings);
  for (const command of reloadCommands(target)) {
    say(pm2CommandLine(home, command));
    let output = '';
    const code = await runPm2(home, command, (text) => {
      output += text;
    });
    if (code !== 0) {
      complain(output.trim());
      complain(`PM2 ended with ${code}.`);
      return 1;
    }
  }
  if (target === 'balancer') return 0;
  return judge(before, await rosterOf(settings));
}

/** Whether the new workers took over: as many as before are ready, and none of them is an old one. */
function judge(before: NodeRoster | undefined, after: NodeRoster | undefined): number {
  if (!before || !after) {
    complain('The agent does not tell who works here; look with: toonfleet start --verbose, or at its port.');
    return 1;
  }
  const old = new Set(before.workers.map(({ pid }) => pid));
  const ready = after.workers.filter(({ pid, state }) => state === 'ready' && !old.has(pid));
  say(`${ready.length} of ${before.workers.length} workers are new and ready`);
  return ready.length >= before.workers.length ? 0 : 1;
}

/** Lets the models be verified by a process of its own, as a person would do it. */
async function modelsAreGood(settings: LoadedSettings): Promise<boolean> {
  const config = settings.source === undefined ? [] : ['--config', settings.source];
  const child = spawn(
    process.execPath,
    [join(PACKAGE_ROOT, 'ops/toonfleet.mjs'), 'models', 'verify', ...config],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
  if (code !== 0) complain(output.trim());
  return code === 0;
}

const rosterOf = (settings: LoadedSettings) => rosterAt(ownAgent(settings), settings.node.key, ASK_MS);
