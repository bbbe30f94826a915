// Runs the operator's program when an alert asks for action: no shell, one at a time, killed when it takes too long. What it
// does is its own affair; its exit code says whether it was done.

import { spawn } from 'node:child_process';
import type { Notice } from './notice.ts';
import type { Outcome } from './outcome.ts';

/** What a hook is run with. */
export interface HookSettings {
  /** A program by its absolute path, and its arguments. */
  readonly hook: readonly string[];
  /** Ms. */
  readonly hook_timeout: number;
}

/** What is kept of what it says. */
const SAID_BYTES = 2_000;

/** Runs the program for a firing notice; that an alert is over starts nothing. */
export function hookSender(
  { hook, hook_timeout }: HookSettings,
  environment: Readonly<Record<string, string | undefined>>,
): (notices: readonly Notice[]) => Promise<Outcome> {
  const [program = '', ...args] = hook;
  return async ([notice]) => {
    if (!notice || notice.status === 'resolved') return { kind: 'sent' };
    return new Promise((resolve) => {
      const child = spawn(program, args, {
        env: {
          PATH: environment.PATH,
          HOME: environment.HOME,
          LANG: environment.LANG,
          ...variablesOf(notice),
        },
        stdio: ['pipe', 'pipe', 'pipe'],
        // A group of its own, so that what it started is ended with it.
        detached: true,
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          said = (said + text).slice(-SAID_BYTES);
        });
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        endGroup(child.pid);
      }, hook_timeout);
      child.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        resolve({ kind: 'never', why: `${program} cannot be run (${error.code})` });
      });
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        if (code === 0) return resolve({ kind: 'sent' });
        const end = late
          ? `took longer than ${hook_timeout} ms and was killed`
          : `ended with ${code ?? signal}`;
        resolve({ kind: 'later', why: `${program} ${end}: ${said.trim()}` });
      });
      // It need not read what it is told.
      child.stdin.once('error', () => {});
      child.stdin.end(JSON.stringify(notice));
    });
  };
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It went by itself.
  }
}

function variablesOf(notice: Notice): Record<string, string> {
  const firing = notice.alerts.filter(({ status }) => status === 'firing');
  return {
    ALERT_NAME: notice.commonLabels.alertname ?? '',
    ALERT_INSTANCES: firing.map(({ labels }) => labels.instance ?? '').join(' '),
    ALERT_SUMMARY: firing[0]?.annotations.summary ?? '',
  };
}
