// What a line of our processes' output means to the person at the terminal. Pure.

import { clean } from './logs/pretty.ts';

/** One line, understood. */
export type LogLine =
  | {
      readonly kind: 'event';
      readonly role: string;
      readonly level: string;
      readonly message: string;
      /** The error's own words, and those of its causes. */
      readonly reason: string | undefined;
    }
  /** PM2 about itself. */
  | { readonly kind: 'pm2'; readonly text: string }
  /** Something else: a crash of Node, a fault of the settings. */
  | { readonly kind: 'other'; readonly text: string };

const PM2_LINE = /^\d{4}-\d\d-\d\dT[\d:]+: PM2 |^Launching in no daemon mode|^\[PM2\]|^Reloading log/;

/** Reads one line. */
export function readLogLine(line: string): LogLine {
  if (PM2_LINE.test(line)) return { kind: 'pm2', text: line };
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    return { kind: 'other', text: line };
  }
  if (!isRecord(event) || typeof event.level !== 'string' || typeof event.message !== 'string')
    return { kind: 'other', text: line };
  return {
    kind: 'event',
    role: typeof event.role === 'string' ? event.role : 'process',
    level: event.level,
    message: event.message,
    reason:
      isRecord(event.error) && typeof event.error.message === 'string' ? event.error.message : undefined,
  };
}

/** The line as a quiet terminal shows it; undefined when it says nothing that needs a person. */
export function quietText(line: LogLine): string | undefined {
  switch (line.kind) {
    case 'pm2':
      return undefined;
    case 'other':
      return line.text.trim() === '' ? undefined : clean(line.text);
    case 'event': {
      if (line.level !== 'warn' && line.level !== 'error') return undefined;
      const known = line.reason === undefined || line.reason.startsWith(line.message);
      return clean(`${line.level} ${line.role}: ${line.message}${known ? '' : `: ${line.reason}`}`);
    }
  }
}

/**
 * Why nothing will be drawn, when a line that comes before anything is ready tells that: a process that could not
 * start, or a worker whose models are not what they should be.
 */
export function startFailure(line: LogLine): string | undefined {
  if (line.kind !== 'event' || line.level !== 'error') return undefined;
  if (line.message === 'could not start')
    return clean(`The ${line.role} could not start: ${line.reason ?? 'it gave no reason'}`);
  return line.role === 'worker' ? clean(`A worker cannot become ready: ${line.message}`) : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
