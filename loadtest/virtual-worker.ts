// Virtual workers: processes that speak enough of a worker's wire to be loaded and balanced, and sleep where a real
// one draws. They show what generator, balancer and queue do with hundreds of slots on two cores, and say nothing
// about drawing: every answer carries `X-Model: virtual`, and every report made with them says so.
//
//   npx tsx loadtest/virtual-worker.ts --workers 8 --service 40ms:0.9,400ms:0.1 --port 9100

import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import {
  formatServerTiming,
  HEADERS,
  PATHS,
  type PredictResult,
  type TransformResult,
} from '../config/contract.ts';
import { readPictureHeader } from '../config/picture.ts';
import { VERSION } from '../ops/process/package.ts';
import { type Random, seededFor } from './random.ts';
import { parseServiceTime, SERVICE_FORMS, type ServiceTime } from './service-times.ts';
import { VIRTUAL_MODEL, VIRTUAL_STYLES } from './virtual-model.ts';

/** One virtual worker. */
export interface VirtualWorkerOptions {
  readonly name: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly slots: number;
  readonly service: ServiceTime;
  readonly random: Random;
}

/** Something that listens. */
export interface Listening {
  readonly url: string;
  close(): Promise<void>;
}

/** A virtual worker that listens. */
export interface VirtualWorker extends Listening {
  /** Takes a request that came in by another port. */
  readonly answer: http.RequestListener;
}

const PICTURE_PATHS: ReadonlySet<string> = new Set([
  PATHS.images,
  PATHS.transform,
  PATHS.upload,
  PATHS.apiTransform,
  PATHS.predict,
]);
/** A worker of its own makes larger answers smaller; so does a virtual one. */
const MAX_SIDE_PX = 1024;

/** Starts a virtual worker on loopback. */
export async function startVirtualWorker(options: VirtualWorkerOptions): Promise<VirtualWorker> {
  const slots = new Slots(options.slots);
  const answers = new Map<string, Promise<Buffer>>();
  const answer: http.RequestListener = (request, response) => {
    handle(request, response, options, slots, answers).catch(() => response.destroy());
  };
  const server = http.createServer(answer);
  return { ...(await listen(server, options.port)), answer };
}

/**
 * Starts a node's shared port: each connection goes to the next worker and stays with it, as PM2's cluster deals them
 * out.
 */
export function startSharedPort(workers: readonly VirtualWorker[]): Promise<Listening> {
  const workerOf = new WeakMap<Socket, VirtualWorker>();
  let turn = 0;
  const server = http.createServer((request, response) => {
    workerOf.get(request.socket)?.answer(request, response);
  });
  server.on('connection', (socket) => {
    const worker = workers[turn++ % workers.length];
    if (worker) workerOf.set(socket, worker);
  });
  return listen(server, 0);
}

async function listen(server: http.Server, port: number): Promise<Listening> {
  server.keepAliveTimeout = 75_000;
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function handle(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  options: VirtualWorkerOptions,
  slots: Slots,
  answers: Map<string, Promise<Buffer>>,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://virtual');
  if (request.method === 'POST' && PICTURE_PATHS.has(url.pathname)) {
    return draw(request, response, url, options, slots, answers);
  }
  request.resume();
  const json = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  switch (url.pathname) {
    case PATHS.ready:
      return json(200, { status: 'ready', node: options.name });
    case PATHS.live:
      return json(200, { status: 'live' });
    case PATHS.health:
      return json(200, { status: 'healthy', model_loaded: true, node: options.name, version: VERSION });
    case PATHS.styles:
      return json(200, VIRTUAL_STYLES);
    default:
      return json(404, { error: 'There is nothing here.', code: 'not_found' });
  }
}

async function draw(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  url: URL,
  options: VirtualWorkerOptions,
  slots: Slots,
  answers: Map<string, Promise<Buffer>>,
): Promise<void> {
  const balanced = request.headers[HEADERS.attempt] !== undefined;
  const began = performance.now();
  const claimed = slots.tryClaim();
  if (!claimed && balanced) {
    response
      .writeHead(503, {
        [HEADERS.admission]: 'busy',
        'content-type': 'application/json',
        'content-length': 2,
      })
      .end('{}');
    request.resume();
    return;
  }
  const release = claimed ?? (await slots.claim());
  try {
    const begun = performance.now();
    const body = await wholeBody(request);
    const uploaded = performance.now();
    const { width = MAX_SIDE_PX, height = MAX_SIDE_PX } = pictureIn(body);
    const asked = Number(url.searchParams.get('max_side') ?? fieldIn(body, 'max_side') ?? MAX_SIDE_PX);
    const scale = Math.min(1, asked / Math.max(width, height));
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    const ms = options.service((w * h) / 1e6, options.random);
    await sleep(ms);
    const key = `${w}x${h}`;
    const answer = answers.get(key) ?? blankPng(w, h);
    answers.set(key, answer);
    const png = await answer;
    const timings = {
      queue: begun - began,
      upload: uploaded - begun,
      infer: performance.now() - uploaded,
      total: performance.now() - began,
    };
    const shaped = shapeOf(url.pathname, png, timings.total);
    response
      .writeHead(200, {
        'content-type': shaped.type,
        'content-length': shaped.body.length,
        [HEADERS.model]: `${VIRTUAL_MODEL}; variant=sleep`,
        [HEADERS.style]: 'meadow',
        [HEADERS.node]: options.name,
        [HEADERS.serverTiming]: formatServerTiming(timings),
      })
      .end(shaped.body);
  } finally {
    release();
  }
}

/** The answer as the path's speakers expect it. */
function shapeOf(path: string, png: Buffer, ms: number): { readonly type: string; readonly body: Buffer } {
  const json = (body: TransformResult | PredictResult) => ({
    type: 'application/json',
    body: Buffer.from(JSON.stringify(body)),
  });
  const dataUrl = () => `data:image/png;base64,${png.toString('base64')}`;
  switch (path) {
    case PATHS.predict:
      return json({ data: [dataUrl()], duration: ms / 1000 });
    case PATHS.apiTransform:
      return json({
        status: 'success',
        elapsed_time: ms / 1000,
        result_base64: dataUrl(),
        result_url: '/v1/results/virtual',
        style: 'meadow',
      });
    default:
      return { type: 'image/png', body: png };
  }
}

async function wholeBody(request: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** The sides of the picture in a raw, multipart or JSON body; it begins near the start, so a search finds it fast. */
function pictureIn(body: Buffer): { width?: number; height?: number } {
  const inJson = /^\s*\{.{0,100}?;base64,/s.exec(body.toString('latin1', 0, 4096))?.[0];
  if (inJson !== undefined) {
    const start = inJson.length;
    return readPictureHeader(Buffer.from(body.toString('latin1', start, start + 40_000), 'base64'));
  }
  const starts = [
    Buffer.from([0xff, 0xd8, 0xff]),
    Buffer.from('\x89PNG', 'latin1'),
    Buffer.from('RIFF', 'latin1'),
  ];
  const head = body.subarray(0, 4096);
  for (const start of starts) {
    const at = head.indexOf(start);
    if (at >= 0) return readPictureHeader(body.subarray(at));
  }
  return {};
}

/** A text field of a multipart body, when it stands before the picture. */
function fieldIn(body: Buffer, name: string): string | undefined {
  return new RegExp(`name="${name}"\\r\\n\\r\\n([^\\r]*)`).exec(body.toString('latin1', 0, 4096))?.[1];
}

function blankPng(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: '#c9d6df' } })
    .png({ compressionLevel: 9, palette: true })
    .toBuffer();
}

/** Slots of one worker, and who waits for one without a balancer. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  tryClaim(): (() => void) | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return this.#releaseOnce();
  }

  async claim(): Promise<() => void> {
    const free = this.tryClaim();
    if (free) return free;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#releaseOnce();
  }

  /** Gives the slot to the next in line, or back. */
  #releaseOnce(): () => void {
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    };
  }
}

const USAGE = `Usage: npx tsx loadtest/virtual-worker.ts [--workers 2] [--slots 1] [--service 100ms] [--port 0] [--nodes 1] [--shared] [--seed 1]

Starts virtual workers on loopback: each has a port of its own and sleeps instead of drawing.
Prints one line of JSON: the upstreams for toonfleet.yaml (or TOONFLEET_UPSTREAMS).

  --workers N    how many, on consecutive ports
  --slots N      slots of each
  --service T    ${SERVICE_FORMS}
  --port P       the first port; 0 takes free ones
  --nodes N      names shared out among the workers: virtual-1 … virtual-N
  --shared       each node has a port, too, that deals its connections out to its workers; a second line tells them

Examples:
  npx tsx loadtest/virtual-worker.ts --workers 8 --service 40ms:0.9,400ms:0.1 --port 9100
  npx tsx loadtest/virtual-worker.ts --workers 200 --nodes 50 --service 250ms
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      workers: { type: 'string', default: '2' },
      slots: { type: 'string', default: '1' },
      service: { type: 'string', default: '100ms' },
      port: { type: 'string', default: '0' },
      nodes: { type: 'string', default: '1' },
      seed: { type: 'string', default: '1' },
      shared: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const service = parseServiceTime(values.service);
  const numbers = [values.workers, values.slots, values.port, values.nodes, values.seed].map(Number);
  const [workers = 1, slots = 1, port = 0, nodes = 1, seed = 1] = numbers;
  if (
    values.help ||
    !service ||
    numbers.some((n) => !Number.isInteger(n) || n < 0) ||
    workers < 1 ||
    slots < 1 ||
    nodes < 1
  ) {
    process.stderr.write(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const started = await Promise.all(
    Array.from({ length: workers }, (_, index) =>
      startVirtualWorker({
        name: `virtual-${(index % nodes) + 1}`,
        port: port === 0 ? 0 : port + index,
        slots,
        service,
        random: seededFor(seed + index, 'service'),
      }),
    ),
  );
  process.stdout.write(`${JSON.stringify(started.map(({ url }) => ({ url, slots })))}\n`);
  const shared = values.shared
    ? await Promise.all(
        Array.from({ length: Math.min(nodes, workers) }, (_, node) =>
          startSharedPort(started.filter((_, index) => index % nodes === node)),
        ),
      )
    : [];
  if (values.shared) process.stdout.write(`${JSON.stringify(shared.map(({ url }) => ({ url })))}\n`);
  const leave = () =>
    void Promise.all([...started, ...shared].map((each) => each.close())).then(() => process.exit(0));
  process.once('SIGINT', leave);
  process.once('SIGTERM', leave);
}

if (import.meta.filename === process.argv[1]) await main();
