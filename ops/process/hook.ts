// Runs a program of the operator: no shell, only the environment that it is given, killed with all that it started when it
// takes too long. What it does is its own affair; its exit code says whether it was done.

import { spawn } from 'node:child_process';

/** How it is run. */
export interface Hook {
  /** A program by its absolute path, and its arguments. */
  readonly command: readonly string[];
  readonly timeoutMs: number;
  /** What it is told in its environment, beside PATH, HOME and LANG. */
  readonly variables: Readonly<Record<string, string>>;
  /** What it may read on its stdin. */
  readonly input?: string;
}

export type HookEnd =
  | { readonly kind: 'done' }
  /** It could not be run at all, and never will be. */
  | { readonly kind: 'unusable'; readonly why: string }
  | { readonly kind: 'failed'; readonly why: string };

/** What is kept of what it says. */
const SAID_BYTES = 2_000;
const LAST_WORDS_MS = 200;

/** Runs it to its end. `environment` is what PATH, HOME and LANG are taken from. */
export function runHook(
  { command: [program = '', ...args], timeoutMs, variables, input = '' }: Hook,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<HookEnd> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env: { PATH: environment.PATH, HOME: environment.HOME, LANG: environment.LANG, ...variables },
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
    }, timeoutMs);
    const settle = (end: HookEnd) => {
      clearTimeout(timer);
      resolve(end);
    };
    child.once('error', (error: NodeJS.ErrnoException) =>
      settle({ kind: 'unusable', why: `${program} cannot be run (${error.code})` }),
    );
    const exited = (code: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(rest);
      child.stdout.destroy();
      child.stderr.destroy();
      if (code === 0) return settle({ kind: 'done' });
      const end = late ? `took longer than ${timeoutMs} ms and was killed` : `ended with ${code ?? signal}`;
      settle({ kind: 'failed', why: `${program} ${end}: ${said.trim()}` });
    };
    // What it leaves behind on purpose may hold its output open for ever; its own last words come within a moment.
    let rest: NodeJS.Timeout | undefined;
    child.once('exit', (code, signal) => {
      rest = setTimeout(() => exited(code, signal), LAST_WORDS_MS);
    });
    child.once('close', exited);
    // It need not read what it is told.
    child.stdin.once('error', () => {});
    child.stdin.end(input);
  });
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It went by itself.
  }
}
