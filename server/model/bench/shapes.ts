// `npm run bench shapes`: whether a session that sees many sizes grows or slows down, and whether fewer sizes would help.
// Each row is a process of its own that draws the same seeded pictures with one model and one thread, as a worker does (the
// graph rewritten for this CPU, where that is the faster one); only ONNX Runtime's memory settings and the sizes differ.
//
// Run by the bench command as: shapes-bench [--assets DIR] [--pictures 60] [--models meadow,tiny,…] [--side 1024].

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferenceSession } from 'onnxruntime-node';
import { PIXEL_FORMAT, type TensorFormat } from '../entries/tensor-format.ts';
import { drawPicture } from '../golden.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';
import { trialOf } from '../optimize/trial.ts';
import { chooseExact } from '../variants/exact-variant.ts';

const { values } = parseArgs({
  options: {
    assets: { type: 'string', default: process.env.TOONFLEET_TEST_ASSETS ?? '../shared' },
    pictures: { type: 'string', default: '60' },
    side: { type: 'string', default: '1024' },
    models: { type: 'string', default: 'meadow,tiny,animegan-v2' },
    /** Set for the process of one row. */
    row: { type: 'string' },
  },
});

/** One way to run a session. */
interface Row {
  readonly model: string;
  /** Sides are rounded up to its multiples; 1 leaves what the model demands. */
  readonly step: number;
  readonly arena: boolean;
}

interface Measured {
  readonly shapes: number;
  readonly msPerMegapixel: number;
  readonly residentMb: number;
  readonly peakMb: number;
}

const FLOATS: TensorFormat = {
  layout: 'NHWC',
  channels: 'RGB',
  input: { type: 'float32', range: [-1, 1] },
  output: { type: 'float32', range: [-1, 1] },
};

/** A model's file, what it takes, and what sides it demands multiples of and at least, px. */
function modelOf(name: string) {
  switch (name) {
    case 'tiny': {
      const path = join(values.assets, 'models/AnimeGANv3_tiny_Cute.onnx');
      return existsSync(path)
        ? { bytes: readFileSync(path), format: FLOATS, multiple: 16, least: 256 }
        : undefined;
    }
    case 'animegan-v2':
      return {
        bytes: Buffer.from(writeModel(animeganV2(1))),
        format: { ...FLOATS, layout: 'NCHW' } as const,
        multiple: 32,
        least: 256,
      };
    default: {
      const path = fileURLToPath(new URL(`../../models/embedded/${name}.onnx`, import.meta.url));
      return existsSync(path)
        ? { bytes: readFileSync(path), format: PIXEL_FORMAT, multiple: 1, least: 16 }
        : undefined;
    }
  }
}

if (values.row === undefined) printTable();
else console.log(JSON.stringify(await measure(JSON.parse(values.row) as Row)));

function printTable(): void {
  console.log(
    `${cpus()[0]?.model}, one thread, ${values.pictures} pictures up to ${values.side} px, ${new Date().toISOString().slice(0, 10)}`,
  );
  console.log('| model | sizes | arena | shapes seen | ms a megapixel of photo | resident MB | peak MB |');
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  const script = fileURLToPath(import.meta.url);
  for (const model of values.models.split(',')) {
    if (!modelOf(model)) {
      console.log(`| ${model} | not there: set TOONFLEET_TEST_ASSETS | | | | | |`);
      continue;
    }
    for (const arena of [false, true]) {
      for (const step of [1, 64, 128]) {
        const row = JSON.stringify({ model, step, arena } satisfies Row);
        const args = ['--assets', values.assets, '--pictures', values.pictures, '--side', values.side];
        const { status, stdout, stderr } = spawnSync(
          process.execPath,
          [...process.execArgv, script, ...args, '--row', row],
          { encoding: 'utf8' },
        );
        if (status !== 0) throw new Error(`${row} ended with ${status}:\n${stderr}`);
        const { shapes, msPerMegapixel, residentMb, peakMb } = JSON.parse(stdout) as Measured;
        const sizes = step === 1 ? 'as the model demands' : `multiples of ${step}`;
        const figures = [shapes, msPerMegapixel, residentMb, peakMb].map((figure) => figure.toFixed(0));
        console.log(`| ${model} | ${sizes} | ${arena ? 'on' : 'off'} | ${figures.join(' | ')} |`);
      }
    }
  }
}

async function measure({ model, step, arena }: Row): Promise<Measured> {
  const found = modelOf(model);
  if (!found) throw new Error(`there is no ${model}`);
  const { bytes, format, multiple, least } = found;
  const options = { ...SESSION_OPTIONS, enableCpuMemArena: arena, enableMemPattern: arena };
  const open = () => InferenceSession.create(bytes, options);
  const folder = mkdtempSync(join(tmpdir(), 'toonfleet-shapes-'));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const original = { open, bytes, sha256, format, multiple, side: 256 };
  const chosen =
    format === PIXEL_FORMAT
      ? { session: await open(), format: undefined }
      : await chooseExact(original, folder, options);
  rmSync(folder, { recursive: true });
  const trial = trialOf(chosen.session, chosen.format ?? format);
  const shapes = new Set<string>();
  let [ms, megapixels] = [0, 0];
  for (const [width, height] of sizes(Number(values.pictures), Number(values.side))) {
    const up = (px: number) => {
      const unit = Math.max(step, multiple);
      return Math.ceil(Math.max(px, least) / unit) * unit;
    };
    const [w, h] = [up(width), up(height)];
    shapes.add(`${w}×${h}`);
    const { cpuMs } = await trial.draw({ data: drawPicture(w, h, shapes.size), width: w, height: h });
    ms += cpuMs;
    megapixels += (width * height) / 1e6;
  }
  return {
    shapes: shapes.size,
    msPerMegapixel: ms / megapixels,
    residentMb: process.memoryUsage.rss() / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1e3,
  };
}

/** What photos come in: usual and odd aspects, either way up, of any longest side from 256 px. The same at every run. */
function sizes(count: number, most: number): [width: number, height: number][] {
  const aspects = [1, 4 / 3, 3 / 2, 16 / 9, 1.37, 1.85];
  let state = 7;
  const random = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () => {
    const long = Math.round(256 + random() * (most - 256));
    const short = Math.round(long / (aspects[Math.floor(random() * aspects.length)] ?? 1));
    return random() < 0.5 ? [long, short] : [short, long];
  });
}
