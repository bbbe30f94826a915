// A real browser for a test, without a window: started on a page, spoken to over a pipe (the Chrome DevTools Protocol), and
// gone with its test.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import { until } from './cluster.ts';

/** Why tests with a browser are left out here; false where there is one. */
export const NO_BROWSER =
  spawnSync('chromium', ['--version']).status === 0 ? false : 'chromium is not installed';

const WITHIN_MS = 30_000;

/** One page in a browser. */
export interface Browser {
  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  /** Waits until an expression is true. */
  until(expression: string): Promise<void>;
  /** Chooses a file in an input, as a person would in the dialog. */
  choose(selector: string, file: string): Promise<void>;
  /** Types into what has the focus. */
  type(text: string): Promise<void>;
  enter(): Promise<void>;
}

/** Starts a browser on a page. */
export async function startBrowser(context: TestContext, url: string): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'toonfleet-browser-'));
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
  ];
  const child = spawn(
    'chromium',
    [...flags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true },
  );
  context.after(async () => {
    const { pid } = child;
    if (pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      // The whole of it: a browser is many processes in a group of their own.
      process.kill(-pid, 'SIGKILL');
      await exited;
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  // Opened as pipes above, which Node's types do not tell.
  const call = caller(child.stdio[3] as Writable, child.stdio[4] as Readable);
  const { targetInfos } = (await call('Target.getTargets')) as {
    targetInfos: { type: string; targetId: string }[];
  };
  const targetId = targetInfos.find(({ type }) => type === 'page')?.targetId;
  const { sessionId } = (await call('Target.attachToTarget', { targetId, flatten: true })) as {
    sessionId: string;
  };
  const inPage = (method: string, params: object = {}) => call(method, params, sessionId);
  const evaluate = async (expression: string) => {
    const { result } = (await inPage('Runtime.evaluate', { expression, returnByValue: true })) as {
      result: { value?: unknown };
    };
    return result.value;
  };
  await inPage('Page.navigate', { url });
  return {
    evaluate,
    until: (expression) =>
      until(
        async () => (await evaluate(expression)) === true,
        WITHIN_MS,
        () => `never true in the page: ${expression}`,
      ),
    async choose(selector, file) {
      const { root } = (await inPage('DOM.getDocument')) as { root: { nodeId: number } };
      const { nodeId } = (await inPage('DOM.querySelector', { nodeId: root.nodeId, selector })) as {
        nodeId: number;
      };
      await inPage('DOM.setFileInputFiles', { files: [file], nodeId });
    },
    async type(text) {
      await inPage('Input.insertText', { text });
    },
    async enter() {
      const key = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 };
      await inPage('Input.dispatchKeyEvent', { ...key, type: 'keyDown', text: '\r' });
      await inPage('Input.dispatchKeyEvent', { ...key, type: 'keyUp' });
    },
  };
}

interface Reply {
  /** Left out by what the browser says unasked. */
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

type Call = (method: string, params?: object, sessionId?: string) => Promise<unknown>;

/** Calls of the protocol: JSON with a zero byte behind it, either way; answers carry the id of their call. */
function caller(input: Writable, output: Readable): Call {
  const waiting = new Map<number, (reply: Reply) => void>();
  let calls = 0;
  let rest = '';
  output.setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop() ?? '';
    for (const message of messages) {
      const reply = JSON.parse(message) as Reply;
      if (reply.id !== undefined) waiting.get(reply.id)?.(reply);
    }
  });
  input.on('error', () => {});
  return (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      calls += 1;
      const id = calls;
      waiting.set(id, ({ result, error }) => {
        waiting.delete(id);
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result);
      });
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
}
