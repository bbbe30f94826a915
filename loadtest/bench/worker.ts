// `npm run bench worker`: pictures a second through the balancer against the bare model on the same cores.
// Segments alternate (bare, service, bare, service, …), and each service segment is divided by the mean of the bare
// ones beside it, since the machine's speed drifts. Where workers draw with a graph that they rewrote for this CPU, its own
// bare rate stands beside that of the file, so that what the rewriting gains is not taken for what the service costs.

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { type Photo, readPhotos } from '../pictures.ts';
import type { Upload } from '../upload.ts';
import { bareRate, runBare, type Shape } from './bare.ts';
import { assetsDir, benchModel, TINY } from './model.ts';
import { type Service, startService } from './service.ts';

const USAGE = `Usage: npm run bench worker -- [--model FILE.onnx] [--max-side 512] [--seconds 20] [--rounds 3]
                               [--clients 6] [--formats jpeg,png] [--int8] [--json]

Measures pictures/s through balancer and workers against the bare session.run rate of the same model on the same
cores in the same run, and the CPU time of all processes for a picture beside what its model takes. Needs photos and weights in TOONFLEET_TEST_ASSETS (default ../shared).

  --int8   the added model draws by its int8 variant, made from these photos

Examples:
  npm run bench worker
  npm run bench worker -- --model embedded --seconds 10
`;

/** One format's figures. */
interface Segment {
  readonly format: string;
  readonly picturesPerSecond: number;
  readonly barePerSecond: number;
  readonly ratio: number;
  /** Of the graph that the workers drew with; undefined when that is the file itself. */
  readonly ranPerSecond: number | undefined;
  readonly p95Ms: number;
  /** CPU time of the whole service for a picture, ms. */
  readonly cpuMs: number;
  /** What of it is not the model's: the graph that ran, alone, takes the rest. */
  readonly besideModelMs: number;
}

/** Runs the bench; returns the exit code. */
export async function benchWorker(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string', default: TINY },
      'max-side': { type: 'string', default: '512' },
      seconds: { type: 'string', default: '20' },
      rounds: { type: 'string', default: '3' },
      clients: { type: 'string', default: '6' },
      formats: { type: 'string', default: 'jpeg,png' },
      int8: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const seconds = Number(values.seconds);
  const maxSide = Number(values['max-side']);
  const photos = await readPhotos(join(assetsDir(), 'photos'));
  const dataDir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  let service: Service | undefined;
  try {
    const model = benchModel(values.model);
    if (!model) {
      process.stderr.write(`There is no ${values.model} in the models of ${assetsDir()}.\n`);
      return 2;
    }
    const { file, style } = model;
    const shapes = await Promise.all(photos.map((photo) => shapeOf(photo, maxSide, model.multiple)));
    const int8From = values.int8 ? join(assetsDir(), 'photos') : undefined;
    service = await startService(dataDir, model.added ? { file, int8From } : undefined);
    const segments: Segment[] = [];
    for (const format of values.formats.split(',')) {
      const send = photos.map(
        (photo) => (serial: number) =>
          photo.upload.body(serial, { style, format, max_side: String(maxSide) }),
      );
      await drive(service.url, send, Number(values.clients), 3);
      let before = await bareRate(file, seconds / 2, shapes, service.workers);
      for (let round = 0; round < Number(values.rounds); round++) {
        const cpuBefore = service.cpuSeconds();
        const { drawn, drawnBy, ...run } = await drive(service.url, send, Number(values.clients), seconds);
        const cpuMs = (1000 * (service.cpuSeconds() - cpuBefore)) / drawn;
        const graph = graphThatRan(dataDir, drawnBy);
        const ran = await runBare(graph ?? file, seconds / 2, shapes, service.workers);
        const after = await bareRate(file, seconds / 2, shapes, service.workers);
        const barePerSecond = (before + after) / 2;
        segments.push({
          format,
          ...run,
          barePerSecond,
          ratio: run.picturesPerSecond / barePerSecond,
          ranPerSecond: graph === undefined ? undefined : ran.picturesPerSecond,
          cpuMs,
          besideModelMs: cpuMs - ran.cpuMs,
        });
        before = after;
      }
    }
    const memory = await service.workerMemory();
    if (values.json) process.stdout.write(`${JSON.stringify({ segments, memory }, null, 2)}\n`);
    else print(segments, memory, service.workers, maxSide, values.model);
    return 0;
  } finally {
    await service?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/**
 * The variant that workers drew with; undefined when that was the file.
 * @param drawnBy What `X-Model` said.
 */
function graphThatRan(dataDir: string, drawnBy: string): string | undefined {
  const variant = /variant=(\w+)/.exec(drawnBy)?.[1];
  if (variant === undefined) return undefined;
  const kept = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.onnx'),
  );
  const found = kept.find(
    (name) => name.endsWith(`.${variant}.onnx`) || (variant === 'exact' && name.includes('variants')),
  );
  if (found === undefined) throw new Error(`there is no graph of the variant ${variant} in ${dataDir}`);
  return join(dataDir, found);
}

/** The height and width in which the model sees a photo: fitted to maxSide, padded to the multiple. */
async function shapeOf(photo: Photo, maxSide: number, multiple: number): Promise<Shape> {
  const { info } = await sharp(photo.bytes)
    .autoOrient()
    .resize(maxSide, maxSide, { fit: 'inside', withoutEnlargement: true })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const pad = (side: number) => Math.ceil(side / multiple) * multiple;
  return [pad(info.height), pad(info.width)];
}

/** A closed loop of clients for some seconds; pictures are counted when their last byte is here. */
async function drive(url: string, uploads: ((serial: number) => Upload)[], clients: number, seconds: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const latencies: number[] = [];
  let drawn = 0;
  let drawnBy = '';
  const began = performance.now();
  const end = began + seconds * 1000;
  let serial = Math.floor(Math.random() * 1e15);
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let turn = client; performance.now() < end; turn++) {
        serial += 1;
        const upload = uploads[turn % uploads.length]?.(serial);
        if (!upload) throw new Error('there are no photos to send');
        const sent = performance.now();
        drawnBy = await post(`${url}/v1/images`, upload, agent);
        drawn += 1;
        if (performance.now() < end) latencies.push(performance.now() - sent);
      }
    }),
  );
  agent.destroy();
  latencies.sort((a, b) => a - b);
  return {
    /** With those that were on their way when the time was over. */
    drawn,
    drawnBy,
    picturesPerSecond: latencies.length / seconds,
    p95Ms: latencies[Math.floor(latencies.length * 0.95)] ?? Number.NaN,
  };
}

/** Gives what drew the picture. */
async function post(url: string, { contentType, bytes, pieces }: Upload, agent: Agent): Promise<string> {
  const outgoing = request(url, {
    method: 'POST',
    agent,
    headers: { 'content-type': contentType, 'content-length': bytes },
  });
  for (const piece of pieces) outgoing.write(piece);
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  if (answer.statusCode !== 200)
    throw new Error(`answered ${answer.statusCode}: ${Buffer.concat(chunks).toString('utf8', 0, 300)}`);
  return String(answer.headers['x-model']);
}

function print(
  segments: readonly Segment[],
  memory: readonly number[],
  workers: number,
  maxSide: number,
  model: string,
): void {
  const rows = segments.map((s) => [
    s.format,
    s.picturesPerSecond.toFixed(2),
    s.barePerSecond.toFixed(2),
    s.ratio.toFixed(3),
    s.ranPerSecond?.toFixed(2) ?? 'the same',
    s.ranPerSecond ? (s.picturesPerSecond / s.ranPerSecond).toFixed(3) : '',
    s.p95Ms.toFixed(0),
    s.cpuMs.toFixed(0),
    s.besideModelMs.toFixed(0),
  ]);
  const out = [
    `${model} at ${maxSide} px, ${workers} workers on ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`,
    ['format', 'pictures/s', 'bare/s', 'ratio', 'ran bare/s', 'ratio', 'p95 ms', 'CPU ms', 'beside']
      .map((cell) => cell.padStart(11))
      .join(''),
    ...rows.map((row) => row.map((cell) => cell.padStart(11)).join('')),
    ...[...new Set(segments.map((s) => s.format))].map((format) => {
      const ratios = segments
        .filter((s) => s.format === format)
        .map((s) => s.ratio)
        .sort((a, b) => a - b);
      return `${format}: ${ratios[Math.floor(ratios.length / 2)]?.toFixed(3)} of the bare model (median of ${ratios.length})`;
    }),
    'bare/s: the file by ONNX Runtime alone; ran bare/s: the graph that the workers drew with, alone',
    'CPU ms: of all processes for a picture; beside: without what that graph takes alone',
    `resident memory per worker: ${memory.map((bytes) => `${Math.round(bytes / 1e6)} MB`).join(', ')}`,
  ];
  process.stdout.write(`${out.join('\n')}\n`);
}
