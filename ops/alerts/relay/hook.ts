// Runs the operator's program when an alert asks for action, and tells it which.

import { runHook } from '../../process/hook.ts';
import type { Notice } from './notice.ts';
import type { Outcome } from './outcome.ts';

/** What a hook is run with. */
export interface HookSettings {
  /** A program by its absolute path, and its arguments. */
  readonly hook: readonly string[];
  /** Ms. */
  readonly hook_timeout: number;
}

/** Runs the program for a firing notice; that an alert is over starts nothing. */
export function hookSender(
  { hook, hook_timeout }: HookSettings,
  environment: Readonly<Record<string, string | undefined>>,
): (notices: readonly Notice[]) => Promise<Outcome> {
  return async ([notice]) => {
    if (!notice || notice.status === 'resolved') return { kind: 'sent' };
    const end = await runHook(
      {
        command: hook,
        timeoutMs: hook_timeout,
        variables: variablesOf(notice),
        input: JSON.stringify(notice),
      },
      environment,
    );
    switch (end.kind) {
      case 'done':
        return { kind: 'sent' };
      case 'unusable':
        return { kind: 'never', why: end.why };
      case 'failed':
        return { kind: 'later', why: end.why };
    }
  };
}

function variablesOf(notice: Notice): Record<string, string> {
  const firing = notice.alerts.filter(({ status }) => status === 'firing');
  return {
    ALERT_NAME: notice.commonLabels.alertname ?? '',
    ALERT_INSTANCES: firing.map(({ labels }) => labels.instance ?? '').join(' '),
    ALERT_SUMMARY: firing[0]?.annotations.summary ?? '',
  };
}
