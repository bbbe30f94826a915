// `npm run bench soak`: thousands of pictures of mixed sizes, formats, styles and efforts through one real worker, and
// what its memory did meanwhile. Each run leaves its curve in --out; the plot shows all that are there.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { INTERNAL_PATHS, workerReportSchema } from '../../config/contract.ts';
import { drawPhotos, type Photo, type Size } from '../pictures.ts';
import { type Random, seededFor } from '../random.ts';
import type { Upload } from '../upload.ts';
import { type Flatness, flatness, type Sample } from './flatness.ts';
import { assetsDir, benchModel } from './model.ts';
import { startService } from './service.ts';
import { printSheet } from './sheet.ts';
import { soakPlot } from './soak-plot.ts';

const V2 = 'animegan-v2';
const USAGE = `Usage: npm run bench soak -- [--pictures 10000] [--model embedded|FILE.onnx|${V2}] [--max-side N]
                           [--seed 1] [--clients 2] [--release-from SIZE] [--int8]
                           [--out out/soak] [--plot FILE.svg] [--json]

Sends pictures of seeded sizes, formats, styles and efforts to one worker and looks at its resident memory meanwhile: between two
pictures, and at the peak, which is while one is drawn.
With a model of TOONFLEET_TEST_ASSETS (default ../shared), or with the AnimeGANv2 architecture (weights by chance), half
of the pictures are drawn by it and half by the embedded styles. --max-side is 1024 with embedded styles alone, else 512.
Flat is what adds at most 5 % over the last two thirds, by a straight line through them; the exit code is 1 when it is not.

  --release-from SIZE  worker.release_from of that worker, such as 4MiB
  --int8        the added model draws by its int8 variant, made from the photos of the assets
  --plot FILE   also draws all curves that are in --out
  --pictures 0  draws the plot only

Examples:
  npm run bench soak -- --pictures 300
  npm run bench soak -- --pictures 1000 --model AnimeGANv3_Hayao_36.onnx --plot docs/images/soak.svg
`;

/** From a chat program's thumbnail to a camera's; two photos of each are drawn. */
const SIZES: readonly Size[] = [
  { width: 180, height: 240 },
  { width: 333, height: 221 },
  { width: 640, height: 480 },
  { width: 719, height: 1279 },
  { width: 1280, height: 853 },
  { width: 1500, height: 500 },
  { width: 2400, height: 1800 },
];
const EMBEDDED = ['meadow', 'sky', 'dusk', 'ink'] as const;
const FORMATS = ['png', 'jpeg', 'webp', 'json'] as const;
const EFFORTS = ['full', 'full', 'fast', 'auto'] as const;
/** How often memory is looked at in all. */
const LOOKS = 240;
/** Every so many looks it says how far it is. */
const TOLD = 24;
const HEAVY_SIDE = 512;
const LIGHT_SIDE = 1024;

const resultSchema = z.object({
  title: z.string(),
  samples: z.array(z.object({ pictures: z.number(), bytes: z.number() })),
});

/** Runs the bench; returns the exit code. */
export async function benchSoak(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      pictures: { type: 'string', default: '10000' },
      model: { type: 'string', default: 'embedded' },
      'max-side': { type: 'string' },
      seed: { type: 'string', default: '1' },
      clients: { type: 'string', default: '2' },
      'release-from': { type: 'string' },
      int8: { type: 'boolean', default: false },
      out: { type: 'string', default: 'out/soak' },
      plot: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const heavy = values.model !== 'embedded';
  const maxSide = Number(values['max-side'] ?? (heavy ? HEAVY_SIDE : LIGHT_SIDE));
  const [pictures, seed, clients] = [Number(values.pictures), Number(values.seed), Number(values.clients)];
  const wrong = [pictures >= 0, maxSide >= 64, maxSide <= LIGHT_SIDE, clients >= 1, seed >= 0].includes(
    false,
  );
  if (values.help || wrong) {
    (wrong ? process.stderr : process.stdout).write(USAGE);
    return wrong ? 2 : 0;
  }
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  let flat = true;
  if (pictures > 0) {
    const run = await soak(values.model, {
      pictures,
      maxSide,
      seed,
      clients,
      releaseFrom: values['release-from'],
      int8: heavy && values.int8,
    });
    if (run === undefined) {
      process.stderr.write(`There is no ${values.model} in the models of the test assets.\n`);
      return 2;
    }
    const line = flatness(run.samples);
    flat = line?.flat ?? false;
    const { title } = run;
    writeFileSync(join(out, `${title.replace(/\W+/g, '-')}.json`), JSON.stringify({ ...run, line }, null, 1));
    print(['soak', ...args], run, line, values.json);
  }
  if (values.plot !== undefined) writePlot(out, resolve(values.plot));
  return flat ? 0 : 1;
}

/** What one run left behind. */
interface Soak {
  readonly title: string;
  readonly pictures: number;
  readonly maxSide: number;
  readonly seconds: number;
  readonly samples: readonly Sample[];
  readonly peakBytes: number | undefined;
  /** Pictures by what was asked for. */
  readonly asked: Readonly<Record<string, number>>;
  readonly shapes: number;
}

interface Wish {
  readonly pictures: number;
  readonly maxSide: number;
  readonly seed: number;
  readonly clients: number;
  /** `worker.release_from`; undefined: its default. */
  readonly releaseFrom: string | undefined;
  readonly int8: boolean;
}

async function soak(name: string, wish: Wish): Promise<Soak | undefined> {
  const { pictures, maxSide, seed, clients, releaseFrom, int8 } = wish;
  const dir = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  try {
    const model = modelNamed(name, dir);
    if (!model) return undefined;
    const photos = await drawPhotos(seed, SIZES);
    // Its memory is what is looked at, so nobody replaces the worker for it.
    const env = {
      TOONFLEET_WORKER__MAX_MEMORY: '0B',
      TOONFLEET_MODELS__FASTER: 'true',
      ...(releaseFrom === undefined ? {} : { TOONFLEET_WORKER__RELEASE_FROM: releaseFrom }),
    };
    const added = model.file !== undefined && {
      file: model.file,
      int8From: int8 ? join(assetsDir(), 'photos') : undefined,
    };
    const service = await startService(dir, added || undefined, 1, env);
    try {
      const [worker] = await service.workerPorts();
      if (!worker) throw new Error('there is no worker');
      const random = seededFor(seed, 'soak');
      const asked: Record<string, number> = {};
      const shapes = new Set<string>();
      // Its start measured variants, two graphs at once; what counts here is what drawing takes.
      forgetPeak(worker.pid);
      const samples: Sample[] = [{ pictures: 0, bytes: await memoryOf(worker.url) }];
      const every = Math.max(1, Math.floor(pictures / LOOKS));
      const began = performance.now();
      let [sent, done] = [0, 0];
      const draw = async () => {
        const { photo, fields } = next(photos, model.style, maxSide, random);
        const upload = photo.upload.body(sent++, fields);
        for (const value of [fields.style, fields.format, fields.effort])
          asked[value] = (asked[value] ?? 0) + 1;
        shapes.add(`${photo.width}×${photo.height} to ${fields.max_side}`);
        const drawnBy = await post(`${worker.url}/v1/images`, upload, agent);
        if (int8 && fields.style === model.style && !drawnBy.endsWith('variant=int8'))
          throw new Error(`the worker draws by another variant: ${drawnBy}`);
        done += 1;
        if (done % every !== 0) return;
        const bytes = await memoryOf(worker.url);
        samples.push({ pictures: done, bytes });
        if (done % (every * TOLD) === 0)
          process.stderr.write(`${done} pictures, ${(bytes / 1e6).toFixed(0)} MB\n`);
      };
      const clientLoop = async () => {
        while (sent < pictures) await draw();
      };
      await Promise.all(Array.from({ length: clients }, clientLoop)).catch((cause: unknown) => {
        throw new Error(`it ended after ${done} pictures; the service said:\n${service.output()}`, { cause });
      });
      const seconds = (performance.now() - began) / 1000;
      const title = [
        model.title,
        ...(int8 ? ['int8'] : []),
        ...(releaseFrom === undefined ? [] : [`release_from ${releaseFrom}`]),
      ].join(', ');
      const peakBytes = peakOf(worker.pid);
      samples.sort((a, b) => a.pictures - b.pictures);
      return { title, pictures, maxSide, seconds, samples, peakBytes, asked, shapes: shapes.size };
    } finally {
      await service.stop();
    }
  } finally {
    agent.destroy();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A model by the name that the command line gives it; undefined when it is not there. */
function modelNamed(
  name: string,
  dir: string,
): { title: string; file: string | undefined; style: string | undefined } | undefined {
  if (name === V2) {
    const file = join(dir, 'animegan-v2.onnx');
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    // A process of its own, and no import: loadtest/ knows nothing of the worker's inside.
    const script = fileURLToPath(
      new URL(`../../server/model/bench/write-animegan-v2.${extension}`, import.meta.url),
    );
    const { status, stderr } = spawnSync(process.execPath, [...process.execArgv, script, file]);
    if (status !== 0) throw new Error(`the AnimeGANv2 architecture could not be written:\n${stderr}`);
    return { title: 'AnimeGANv2 architecture', file, style: 'bench' };
  }
  const model = benchModel(name);
  if (!model) return undefined;
  return model.added
    ? { title: model.title, file: model.file, style: model.style }
    : { title: 'embedded styles', file: undefined, style: undefined };
}

/** The next picture: which photo, and what is asked of it. */
function next(photos: readonly Photo[], style: string | undefined, maxSide: number, random: Random) {
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T; // never empty
  const embedded = one(EMBEDDED);
  return {
    photo: one(photos),
    fields: {
      style: style !== undefined && random() < 0.5 ? style : embedded,
      format: one(FORMATS),
      effort: one(EFFORTS),
      // A third asks for all there is, the others for any side.
      max_side: String(random() < 0.34 ? maxSide : 64 + Math.floor(random() * (maxSide - 63))),
      base64: 'false',
    },
  };
}

async function memoryOf(url: string): Promise<number> {
  const answer = await fetch(`${url}${INTERNAL_PATHS.workerReport}`);
  return workerReportSchema.parse(await answer.json()).rss_bytes;
}

/** From here on {@link peakOf} counts anew, where the system lets it. */
function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Then the peak is that of its whole life, and rather too large than too small.
  }
}

/** The most that a process had in memory, bytes; undefined where the system does not tell. */
function peakOf(pid: number): number | undefined {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

/** Sends a picture; gives the drawing's X-Model. */
async function post(url: string, { contentType, bytes, pieces }: Upload, agent: Agent): Promise<string> {
  const headers = { 'content-type': contentType, 'content-length': bytes };
  const outgoing = request(url, { method: 'POST', agent, headers });
  for (const piece of pieces) outgoing.write(piece);
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  if (answer.statusCode !== 200)
    throw new Error(`answered ${answer.statusCode}: ${Buffer.concat(chunks).toString('utf8', 0, 300)}`);
  return String(answer.headers['x-model']);
}

function print(words: string[], run: Soak, line: Flatness | undefined, json: boolean): void {
  const { title, pictures, maxSide, seconds, samples, peakBytes, asked, shapes } = run;
  const mb = (bytes: number | undefined) =>
    bytes === undefined ? 'unknown' : `${(bytes / 1e6).toFixed(0)} MB`;
  const at = (part: number) => samples[Math.floor((samples.length - 1) * part)]?.bytes;
  const verdict =
    line === undefined
      ? 'too few looks to judge'
      : `${line.flat ? 'flat' : 'not flat'}: ${(line.bytesPerThousand / 1e6).toFixed(1)} MB a thousand pictures, ${mb(line.growthBytes)} over the last two thirds`;
  printSheet(
    {
      words,
      tables: [
        {
          title: `${title}, ${pictures} pictures up to ${maxSide} px, one worker`,
          head: ['start', 'after a third', 'after two thirds', 'end', 'peak', 'verdict'],
          rows: [[mb(at(0)), mb(at(1 / 3)), mb(at(2 / 3)), mb(at(1)), mb(peakBytes), verdict]],
        },
      ],
      notes: [
        `${shapes} combinations of photo and longest side, ${(pictures / seconds).toFixed(1)} pictures/s.`,
        Object.entries(asked)
          .map(([what, count]) => `${what} ${count}`)
          .join(', '),
      ],
      data: { run, line },
    },
    json,
  );
}

/** One plot of every curve that earlier runs left. */
function writePlot(folder: string, to: string): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const curves = files
    .sort()
    .map((name) => resultSchema.parse(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, soakPlot(curves));
  process.stderr.write(`${to}: ${curves.map(({ title }) => title).join(', ')}\n`);
}
