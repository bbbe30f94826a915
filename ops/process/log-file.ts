// A process's own end of the log file that PM2 gave it. In cluster mode PM2 would append through a stream which it
// destroys at `pm2 reloadLogs`, with the lines that are still in it, and has none until the next one is open; this one
// writes at once and changes over to the new file between two lines, so that a rotation costs nothing.

import { closeSync, openSync, writeSync } from 'node:fs';

/** The file that PM2 has named for this process; undefined where it has none, or was told to write none. */
export function pm2LogFile(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const path = env.pm_out_log_path;
  // PM2's own words for "no file".
  return path === undefined || path === '' || /NULL|\/dev\/null/.test(path) ? undefined : path;
}

/** A file that lines are added to, by several processes at once if need be: what is appended in one go stays in one piece. */
export class LogFile {
  readonly #path: string;
  #fd: number;

  /** @throws {Error} when the file cannot be opened. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'a');
  }

  /** Adds whole lines. What a full disk does not take is lost; the next lines are tried again. */
  append(text: string): void {
    try {
      let bytes: Uint8Array = Buffer.from(text);
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#fd, bytes));
    } catch {
      // A log must not end the process that writes it, and there is nowhere else to tell.
    }
  }

  /** Goes on in the file that has the path now; the one before may have been renamed. */
  reopen(): void {
    let fresh: number;
    try {
      fresh = openSync(this.#path, 'a');
    } catch {
      // Better the renamed file than none.
      return;
    }
    closeSync(this.#fd);
    this.#fd = fresh;
  }
}
