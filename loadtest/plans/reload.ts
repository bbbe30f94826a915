// `reload`: an ordinary load while every worker is replaced. Not one request may be lost.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ops/process/package.ts';
import { ordinaryRate } from './ceiling.ts';
import { answer, hold, type Plan, rate, stopAfter } from './plan.ts';

const SHARE = 0.6;
const DEFAULT_SECONDS = 60;

export const reloadPlan: Plan = async (bench, settings) => {
  const ordinary = await ordinaryRate(bench, settings, SHARE);
  if (ordinary.kind === 'stop') return ordinary.answer;
  const { qps } = ordinary;
  const seconds = settings.duration ?? DEFAULT_SECONDS;
  const after = AbortSignal.any([bench.interrupted]);
  const reload = reloadLater(seconds / 3, settings.reloadCommand, after, (line) => bench.say(line));
  const step = await bench.run({
    label: rate(qps),
    purpose: 'reload',
    load: hold(qps, seconds),
    grade: 'none',
    early: null,
  });
  const outcome = await reload(step.ended !== 'complete');
  const stop = stopAfter(step);
  if (stop) return stop;
  const lost = step.requests - step.ok;
  if (outcome.exitCode !== 0) {
    return answer(
      'aborted',
      `The reload itself failed (exit ${outcome.exitCode ?? 'by a signal'}): ${outcome.lastLine}`,
    );
  }
  const during =
    outcome.endedS <= seconds ? '' : ' The reload outlasted the load; hold it longer with --duration.';
  return lost === 0
    ? answer(
        during === '' ? 'met' : 'invalid',
        `0 of ${step.requests} requests were lost in a reload of ${(outcome.endedS - seconds / 3).toFixed(1)} s at ${rate(qps)}.${during}`,
      )
    : answer(
        'not met',
        `${lost} of ${step.requests} requests were lost in a reload at ${rate(qps)}.${during}`,
      );
};

interface ReloadOutcome {
  readonly exitCode: number | null;
  /** Seconds after the load began. */
  readonly endedS: number;
  readonly lastLine: string;
}

/** Starts the reload after a while; the returned function waits for its end, or gives it up when it has not begun. */
function reloadLater(
  delayS: number,
  command: string | undefined,
  interrupted: AbortSignal,
  say: (line: string) => void,
): (giveUp: boolean) => Promise<ReloadOutcome> {
  const began = performance.now();
  let running: Promise<ReloadOutcome> | undefined;
  const timer = setTimeout(() => {
    if (interrupted.aborted) return;
    say(`reload: ${command ?? 'toonfleet reload'}`);
    running = runReload(command, began);
  }, delayS * 1000);
  return async (giveUp) => {
    clearTimeout(timer);
    if (running) return running;
    return { exitCode: giveUp ? 0 : 1, endedS: 0, lastLine: 'it did not begin' };
  };
}

function runReload(command: string | undefined, began: number): Promise<ReloadOutcome> {
  return new Promise((resolve) => {
    const child =
      command === undefined
        ? spawn(process.execPath, [join(PACKAGE_ROOT, 'ops', 'toonfleet.mjs'), 'reload'], {
            stdio: ['ignore', 'pipe', 'pipe'],
          })
        : spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (piece: Buffer) => {
      output = (output + piece.toString()).slice(-2000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const end = (exitCode: number | null, lastLine: string) =>
      resolve({ exitCode, endedS: (performance.now() - began) / 1000, lastLine });
    child.on('error', (error) => end(null, error.message));
    child.on('close', (code) => end(code, output.trim().split('\n').at(-1) ?? ''));
  });
}
