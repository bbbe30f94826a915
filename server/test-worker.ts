// A worker for tests: the real app on a free port, in this process, with real or scripted inference.

import { mkdtemp, rm } from 'node:fs/promises';
import { type Agent, type ClientRequest, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type LoadedSettings, loadSettings } from '../config/load.ts';
import { SILENT } from '../ops/process/log.ts';
import { workerMetrics } from '../ops/process/metrics.ts';
import { createSite } from '../ops/process/site.ts';
import { createApp } from './app.ts';
import { type Listening, listen } from './listen.ts';
import { installedIn } from './model/entries/installed.ts';
import { type Inference, startInference } from './model/inference/session.ts';
import { Library } from './model/library.ts';
import type { WorkerParts } from './parts.ts';
import { createSpareMemory } from './pipeline/spare-memory.ts';
import { Readiness } from './readiness.ts';
import { createFsStore } from './results/fs.ts';
import { Slot } from './slot.ts';
import { Speed } from './speed.ts';

/** A running test worker. */
export interface TestWorker {
  readonly port: number;
  readonly parts: WorkerParts;
  readonly listening: Listening;
  readonly settings: LoadedSettings;
}

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON; throws when it is none. */
  json(): Record<string, unknown>;
}

/** Settings for tests: a data folder of their own, and whatever the test sets by environment name. */
export function testSettings(dir: string, env: Record<string, string> = {}): LoadedSettings {
  return loadSettings({ cwd: dir, env: { TOONFLEET_NODE__NAME: 'vm-test', ...env } });
}

/** Starts a worker that ends with the test. Without `inference` it draws with the embedded style meadow. */
export async function startTestWorker(
  t: Pick<TestContext, 'after'>,
  {
    inference,
    env = {},
    ready = true,
    modelsDir,
  }: { inference?: Inference; env?: Record<string, string>; ready?: boolean; modelsDir?: string } = {},
): Promise<TestWorker> {
  const dir = await mkdtemp(join(tmpdir(), 'toonfleet-'));
  const settings = testSettings(dir, modelsDir ? { ...env, TOONFLEET_MODELS__DIR: modelsDir } : env);
  const drawing = inference ?? startInference((reason) => Promise.reject(reason));
  const installed = installedIn(settings.models.dir);
  const models = installed.models.filter(
    ({ name, embedded }) => !embedded || name === 'meadow' || name === 'ink',
  );
  const speed = new Speed();
  const library = new Library(
    { ...installed, models },
    settings.models.default_style,
    drawing,
    undefined,
    undefined,
    {
      lighterStyle: settings.models.lighter_style,
      onProof: ({ name }, { width, height, ms }) => speed.proved(name, width * height, ms),
    },
  );
  const readiness = new Readiness();
  if (ready) {
    if (!inference) await library.load();
    readiness.happened({ kind: 'proven' });
  }
  const slot = new Slot(settings.worker.queue_length);
  const parts: WorkerParts = {
    settings,
    library: () => (ready ? library : undefined),
    inference: drawing,
    memory: createSpareMemory(),
    readiness,
    slot,
    results: createFsStore(settings.node.name, settings.results),
    site: createSite({ version: 'test', limits: settings.limits }),
    metrics: workerMetrics(),
    speed,
    report: () => ({
      id: 'test-1',
      pid: process.pid,
      url: `http://127.0.0.1:${listening.port}`,
      slots: 1,
      state: readiness.state,
      models: models.map(({ name }) => name),
      busy: slot.busy ? 1 : 0,
      ms_per_megapixel: speed.msPerMegapixel,
      rss_bytes: 1,
      event_loop_lag_ms: 0,
    }),
    log: SILENT,
  };
  const listening = await listen(createApp(parts).callback(), {
    host: '127.0.0.1',
    port: 0,
    exclusive: true,
  });
  t.after(async () => {
    listening.closeAll();
    listening.stopAccepting();
    if (!inference) await drawing.close();
    await rm(dir, { recursive: true, force: true });
  });
  return { port: listening.port, parts, listening, settings };
}

/** What a request is made of. */
export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array | string | undefined;
  readonly agent?: Agent;
  /** Called with every interim response. */
  readonly onInterim?: (status: number) => void;
  /** Called with the request once it exists, to write to it or to destroy it; then nothing else is written. */
  readonly drive?: (request: ClientRequest) => void;
}

/** Sends one request and reads its answer. */
export function ask(port: number, path: string, options: Ask = {}): Promise<Answer> {
  const {
    method = options.body === undefined && !options.drive ? 'GET' : 'POST',
    headers = {},
    body,
  } = options;
  return new Promise((resolve, reject) => {
    const length: Record<string, string> =
      body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        headers: { ...length, ...headers },
        agent: options.agent ?? false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const whole = Buffer.concat(chunks);
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: whole,
            json: () => JSON.parse(whole.toString('utf8')) as Record<string, unknown>,
          });
        });
      },
    );
    request.on('information', ({ statusCode }) => options.onInterim?.(statusCode));
    request.on('error', reject);
    if (options.drive) options.drive(request);
    else request.end(body);
  });
}

/** One part of a form. */
export interface Part {
  readonly name: string;
  readonly content: Uint8Array | string;
  readonly filename?: string;
  readonly type?: string;
  readonly extraHeader?: string;
}

/** A multipart body and its headers. */
export function form(...parts: readonly Part[]): { headers: Record<string, string>; body: Buffer } {
  const boundary = 'toonfleet-test-boundary';
  const body = Buffer.concat([
    ...parts.flatMap(({ name, content, filename, type, extraHeader }) => [
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n` +
          `${type === undefined ? '' : `Content-Type: ${type}\r\n`}${extraHeader === undefined ? '' : `${extraHeader}\r\n`}\r\n`,
      ),
      Buffer.from(content),
      Buffer.from('\r\n'),
    ]),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
  return { headers: { 'content-type': `multipart/form-data; boundary=${boundary}` }, body };
}

/** A photo as a form's file. */
export const filePart = (name: string, content: Uint8Array): Part => ({
  name,
  content,
  filename: 'photo.jpg',
  type: 'image/jpeg',
});

/** The half of inference that knows of faces, for doubles that are never asked for any. */
export const NO_FACES: Pick<Inference, 'loadDetector' | 'detect' | 'drawFace'> = {
  loadDetector: () => Promise.reject(new Error('not in this test')),
  detect: () => Promise.reject(new Error('not in this test')),
  drawFace: () => Promise.reject(new Error('not in this test')),
};

/** Inference that draws nothing and is done when the test says so. */
export function scriptedInference(): {
  inference: Inference;
  /** Settles when a run has begun. */
  begun: () => Promise<void>;
  /** Ends the oldest run. */
  finish: () => void;
  /** How many runs there were. */
  count: () => number;
} {
  const runs: (() => void)[] = [];
  const waiting: (() => void)[] = [];
  let count = 0;
  let announced = 0;
  return {
    count: () => count,
    finish: () => runs.shift()?.(),
    begun: () =>
      new Promise((resolve) => {
        if (announced < count) resolve();
        else waiting.push(resolve);
        announced++;
      }),
    inference: {
      ...NO_FACES,
      load: () => Promise.reject(new Error('not in this test')),
      run: (_model, pixels) =>
        new Promise((resolve) => {
          runs.push(() => resolve({ ...pixels, ms: 1 }));
          count++;
          waiting.shift()?.();
        }),
      close: () => Promise.resolve(),
    },
  };
}
