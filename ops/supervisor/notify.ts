// Tells systemd how it goes: ready, still well, stopping. Node has no datagram sockets of the kind that systemd listens on,
// so systemd's own `systemd-notify` carries the word. Without a supervisor that listens, nothing is said.

import { execFile } from 'node:child_process';

/** The supervisor's ear. */
export interface Supervisor {
  /** Pictures can come. From now on `isWell` is asked twice in each watchdog's time, and its yes is passed on. */
  ready(isWell: () => Promise<boolean>): void;
  stopping(): void;
}

type Say = (words: readonly string[]) => Promise<void>;

/**
 * The supervisor that started this process.
 * @param env Where systemd names its socket (NOTIFY_SOCKET) and the watchdog's time in microseconds (WATCHDOG_USEC).
 */
export function supervisorOf(
  env: Readonly<Record<string, string | undefined>>,
  say: Say = saying(env),
): Supervisor {
  if (!env.NOTIFY_SOCKET) return { ready: () => {}, stopping: () => {} };
  let watching: NodeJS.Timeout | undefined;
  return {
    ready(isWell) {
      void say(['READY=1', 'STATUS=serving']);
      const everyMs = Number(env.WATCHDOG_USEC ?? 0) / 2000;
      if (!(everyMs > 0)) return;
      watching = setInterval(() => {
        void isWell().then((well) => (well ? say(['WATCHDOG=1']) : undefined));
      }, everyMs);
      watching.unref();
    },
    stopping() {
      clearInterval(watching);
      void say(['STOPPING=1', 'STATUS=finishing what is under way']);
    },
  };
}

/** A word that does not arrive is not worth an end: systemd notices by itself. */
function saying({ NOTIFY_SOCKET, PATH }: Readonly<Record<string, string | undefined>>): Say {
  const env = { NOTIFY_SOCKET, PATH };
  return (words) =>
    new Promise((resolve) => {
      execFile('systemd-notify', [...words], { env, timeout: 5_000 }, () => resolve());
    });
}
