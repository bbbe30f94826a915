// One JSON line an event, on stdout. Made once in a composition root and passed on; nobody else knows pino.

import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { LogFile, pm2LogFile } from './log-file.ts';

/** What a part of a process may log with. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * Lines are written together: one write a line was 6 % of a busy balancer's time. What is in the buffer is written when it
 * is full, after a tenth of a second, with the next warning or error, and when the process ends; only a kill loses it.
 */
const BUFFERED_BYTES = 4096;
const FLUSH_MS = 100;

/** A log whose lines carry the process's role. `error` in the fields is written with its stack and causes. */
export function createLog(role: string, level: string): Log {
  const out = new Gathered(isCaught(process.stdout) ? throughPm2() : writeAll);
  setInterval(() => out.flushSync(), FLUSH_MS).unref();
  process.once('exit', () => out.flushSync());
  const log = pino(
    {
      level,
      base: { role, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.err },
      messageKey: 'message',
    },
    out,
  );
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn(fields, message) {
      log.warn(fields, message);
      out.flushSync();
    },
    error(fields, message) {
      log.error(fields, message);
      out.flushSync();
    },
  };
}

/** PM2's cluster mode puts a `write` of its own in the place of stdout's: what goes to the descriptor never reaches its files. */
function isCaught(stream: NodeJS.WriteStream): boolean {
  return stream.write !== Object.getPrototypeOf(stream).write;
}

/**
 * What PM2's `write` does, done here: the line to PM2, which shows it, and to the file. A process that goes on without PM2
 * still has its file.
 */
function throughPm2(): (text: string) => void {
  const path = pm2LogFile(process.env);
  if (path === undefined || process.send === undefined) return (text) => void process.stdout.write(text);
  const file = new LogFile(path);
  process.on('message', (message: unknown) => {
    if (isReopening(message)) file.reopen();
  });
  return (text) => {
    file.append(text);
    if (process.connected) process.send?.({ type: 'log:out', data: text });
  };
}

/** What PM2 says to its apps at `pm2 reloadLogs`. */
function isReopening(message: unknown): boolean {
  return (
    typeof message === 'object' && message !== null && 'type' in message && message.type === 'log:reload'
  );
}

/** Writes to stdout at once, also when the process is about to end. */
function writeAll(text: string): void {
  let bytes: Uint8Array = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      // A pipe that is full for the moment.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(PAUSE, 0, 0, EAGAIN_PAUSE_MS);
    }
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));
const EAGAIN_PAUSE_MS = 5;

/**
 * Gathers lines. Once nobody reads them any more, because PM2 or the terminal is gone, there is nobody to tell either: the
 * process goes on to its end in silence, instead of dying of its own log over and over.
 */
class Gathered {
  readonly #send: (text: string) => void;
  #text = '';
  #unread = false;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  write(line: string): void {
    if (this.#unread) return;
    this.#text += printable(line);
    if (this.#text.length >= BUFFERED_BYTES) this.flushSync();
  }

  flushSync(): void {
    if (this.#text === '') return;
    const text = this.#text;
    this.#text = '';
    try {
      this.#send(text);
    } catch {
      this.#unread = true;
    }
  }
}

/**
 * JSON escapes the control characters below the blank. Those above it (DEL, and C1 with its one-character form of ESC [)
 * move a terminal's cursor too, and some readers take U+2028 and U+2029 for line ends. They only ever stand within strings.
 */
function printable(line: string): string {
  return line.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A log that says nothing, for tests. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
