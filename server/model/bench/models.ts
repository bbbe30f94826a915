// `npm run bench models`: every variant of a model against ONNX Runtime's defaults, its level `all`, PyTorch and OpenVINO, on
// the same weights, photos and core, in turn. Each contender is a process of its own. The AnimeGANv2 architecture has weights
// by chance unless a file of it is given; AnimeGANv3 is measured where its files are.

import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { InferenceSession } from 'onnxruntime-node';
import sharp from 'sharp';
import { PACKAGE_ROOT } from '../../../ops/process/package.ts';
import { ModelFault } from '../entries/fault.ts';
import { PIXEL_FORMAT, type TensorFormat } from '../entries/tensor-format.ts';
import type { Pixels } from '../golden.ts';
import { SESSION_OPTIONS } from '../inference/session-options.ts';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';
import { optimizeToIntegers } from '../optimize/optimize.ts';
import { psnr, ssim } from '../optimize/quality.ts';
import { chooseExact } from '../variants/exact-variant.ts';
import { runtimeVersion } from '../variants/runtime.ts';
import { type Absent, comparisonTable, type Measured, rowsOf } from './comparison-table.ts';
import {
  type Contender,
  type DrawAnswer,
  type Engine,
  lastCore,
  type PeerEngine,
  startContender,
  startPeer,
} from './contenders.ts';

/** Of the pictures that a worker gives to a model, where its entry says nothing else. */
const LEAST_SIDE = 16;

const USAGE = `npm run bench -- models [options]

Every variant of each model against ONNX Runtime's defaults and level all, PyTorch eager and OpenVINO.

  --assets DIR        a folder with models/AnimeGANv3*.onnx and photos/*.jpg     (../shared)
  --only TEXT         only models whose names have TEXT in them
  --weights FILE      an ONNX file of the AnimeGANv2 architecture with weights, as loadtest/bench/models/distil.py makes it;
                      else its weights are random, and its PSNR proves nothing
  --side N            the side of the pictures, px                               (512)
  --rounds N          pictures that each contender draws, in turn                (5)
  --psnr N            what int8 has to reach, as models optimize has it: layers stay floats for it, dB   (35)
  --peers DIR         where loadtest/bench/models/install-peers.sh put Python    (.tools/peers)
  --no-peers          without PyTorch and OpenVINO
`;

const { values } = parseArgs({
  options: {
    assets: { type: 'string', default: process.env.TOONFLEET_TEST_ASSETS ?? '../shared' },
    only: { type: 'string', default: '' },
    weights: { type: 'string' },
    side: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '5' },
    psnr: { type: 'string', default: '35' },
    peers: { type: 'string', default: join(PACKAGE_ROOT, '.tools/peers') },
    'no-peers': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

/** A model to compare on. */
interface Subject {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly format: TensorFormat;
  readonly multiple: number;
}

interface Photos {
  readonly calibration: readonly Pixels[];
  readonly proof: readonly Pixels[];
}

const DEFAULTS = 'ONNX Runtime, defaults';
const ALL = 'ONNX Runtime, level all, as workers set it up';
const TITLES: Readonly<Record<Engine, string>> = {
  defaults: DEFAULTS,
  'level all': ALL,
  exact: 'variant exact',
  int8: 'variant int8',
};
const PEERS: readonly PeerEngine[] = ['torch', 'openvino-f32', 'openvino-bf16'];

const side = Number(values.side);
const rounds = Number(values.rounds);
process.exitCode = await main();

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const photos = await openPhotos();
  if (photos.proof.length === 0) {
    console.error(`there are no photos in ${values.assets}/photos; name another folder with --assets`);
    return 1;
  }
  const core = lastCore();
  const cpu = cpus()[0]?.model ?? '';
  const pinned = core === undefined ? 'not bound to a core (taskset is missing)' : `bound to core ${core}`;
  console.log(
    `${cpu}, Node ${process.version}, onnxruntime-node ${runtimeVersion()}, ${side}×${side}, one thread, ${pinned}, ` +
      `${rounds} rounds in turn, ${new Date().toISOString().slice(0, 10)}\n`,
  );
  for (const subject of subjects().filter(({ name }) => name.includes(values.only))) {
    const folder = mkdtempSync(join(tmpdir(), 'toonfleet-bench-'));
    try {
      console.log(`${await compareOn(subject, photos, { folder, core })}\n`);
    } catch (error) {
      if (!(error instanceof ModelFault)) throw error;
      console.log(`${subject.name}: ${error.message}\n`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return 0;
}

function subjects(): Subject[] {
  const format = (layout: 'NHWC' | 'NCHW'): TensorFormat => ({
    layout,
    channels: 'RGB',
    input: { type: 'float32', range: [-1, 1] },
    output: { type: 'float32', range: [-1, 1] },
  });
  const { weights } = values;
  return [
    {
      name: `AnimeGANv2 architecture, ${weights === undefined ? 'random weights' : 'distilled weights'}`,
      bytes: weights === undefined ? writeModel(animeganV2(1)) : readFileSync(weights),
      format: format('NCHW'),
      multiple: 4,
    },
    ...filesIn(join(values.assets, 'models'), /^AnimeGANv3.*\.onnx$/).map((path) => ({
      name: path.replace(/^.*\/|\.onnx$/g, ''),
      bytes: readFileSync(path),
      format: format('NHWC'),
      multiple: 16,
    })),
  ];
}

interface Stage {
  readonly folder: string;
  readonly core: number | undefined;
}

/** One model's whole comparison, as text. */
async function compareOn(subject: Subject, photos: Photos, stage: Stage): Promise<string> {
  const { contenders, absent } = await assemble(subject, photos, stage);
  try {
    const files = photos.proof.map(({ data }, index) => {
      const file = join(stage.folder, `photo-${index}.rgb`);
      writeFileSync(file, data);
      return file;
    });
    const answers = await drawInTurn(contenders, files, absent);
    const drawnBy = (index: number) =>
      files.map((_, photo) => {
        const kept = keptFile(stage.folder, index, photo);
        return existsSync(kept) ? new Uint8Array(readFileSync(kept)) : undefined;
      });
    const expected = drawnBy(contenders.findIndex(({ title }) => title === ALL));
    const measured = contenders.flatMap(({ title }, index): Measured[] => {
      const own = answers.get(index) ?? [];
      return own.length < rounds ? [] : [measure(title, own, drawnBy(index), expected)];
    });
    return comparisonTable(subject.name, rowsOf(measured, { defaults: DEFAULTS, all: ALL }), absent);
  } finally {
    for (const { contender } of contenders) await contender.close();
  }
}

type Drawings = readonly (Uint8Array | undefined)[];

/** What came of one contender's pictures; a photo that it or the file itself did not draw is not compared. */
function measure(
  title: string,
  own: readonly DrawAnswer[],
  drawings: Drawings,
  expected: Drawings,
): Measured {
  const pairs = drawings.flatMap((drawn, photo) => {
    const right = expected[photo];
    return drawn && right ? [{ drawn, right }] : [];
  });
  return {
    title,
    cpuMs: own.map(({ cpuMs }) => cpuMs),
    rssBytes: own.at(-1)?.rssBytes ?? 0,
    psnr: pairs.map(({ drawn, right }) => psnr(right, drawn)),
    ssim: pairs.map(({ drawn, right }) => ssim(right, drawn, side, side)),
  };
}

interface Entered {
  readonly title: string;
  readonly contender: Contender;
}

/** Makes the variants, and starts everyone who can draw. */
async function assemble(
  subject: Subject,
  photos: Photos,
  stage: Stage,
): Promise<{ contenders: Entered[]; absent: Absent[] }> {
  const file = join(stage.folder, 'source.onnx');
  writeFileSync(file, subject.bytes);
  const contenders: Entered[] = [];
  const absent: Absent[] = [];
  const enter = async (title: string, start: () => Promise<Contender>) => {
    try {
      const contender = await start();
      contenders.push({ title: contender.title in TITLES ? title : contender.title, contender });
    } catch (error) {
      absent.push({ title, why: (error as Error).message.split('\n')[0] ?? '' });
    }
  };
  const { format, multiple } = subject;
  for (const engine of ['defaults', 'level all'] as const)
    await enter(TITLES[engine], () => startContender({ engine, file, format }, stage));
  await enter(TITLES.exact, async () => {
    const exact = { folder: join(stage.folder, 'variants'), multiple, side };
    await keepExact(subject, exact);
    return await startContender({ engine: 'exact', file, format, exact }, stage);
  });
  await enter(TITLES.int8, async () => {
    const int8 = join(stage.folder, 'int8.onnx');
    const made = await optimizeToIntegers({
      file: subject.bytes,
      format,
      widths: { multiple, least: LEAST_SIDE },
      ...photos,
      leastPsnr: Number(values.psnr),
      leastRatio: 1,
      say: () => {},
    });
    writeFileSync(int8, made.file);
    return await startContender({ engine: 'int8', file: int8, format: PIXEL_FORMAT }, stage);
  });
  const python = join(values.peers, 'bin/python');
  const script = join(PACKAGE_ROOT, 'loadtest/bench/models/peer.py');
  if (values['no-peers']) return { contenders, absent };
  for (const engine of PEERS)
    await enter(engine, async () => {
      if (!existsSync(python))
        throw new Error(`there is no ${python}; run loadtest/bench/models/install-peers.sh`);
      return await startPeer(engine, { python, script, file, format }, stage);
    });
  return { contenders, absent };
}

/** Makes the variant that workers would make, so that its contender only has to open it. */
async function keepExact(
  { bytes, format }: Subject,
  { folder, multiple, side: tried }: { folder: string; multiple: number; side: number },
): Promise<void> {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const open = () => InferenceSession.create(bytes, SESSION_OPTIONS);
  const order = { open, bytes, sha256, format, multiple, side: tried };
  const { session } = await chooseExact(order, folder, SESSION_OPTIONS);
  await session.release();
}

function keptFile(folder: string, contender: number, photo: number): string {
  return join(folder, `drawn-${contender}-${photo}.rgb`);
}

/** First everyone draws every photo, for the comparison and to be warm; then the rounds that count. */
async function drawInTurn(
  contenders: readonly Entered[],
  files: readonly string[],
  absent: Absent[],
): Promise<Map<number, DrawAnswer[]>> {
  const answers = new Map<number, DrawAnswer[]>();
  const gone = new Set<number>();
  const ask = async (index: number, photo: number, keep: boolean) => {
    const [entered, file] = [contenders[index], files[photo]];
    if (!entered || file === undefined || gone.has(index)) return undefined;
    const { title, contender } = entered;
    try {
      const kept = keep ? keptFile(file.replace(/\/[^/]*$/, ''), index, photo) : null;
      return await contender.draw({ photo: file, width: side, height: side, keep: kept });
    } catch (error) {
      gone.add(index);
      absent.push({ title, why: (error as Error).message.split('\n')[0] ?? '' });
      return undefined;
    }
  };
  for (const photo of files.keys()) for (const index of contenders.keys()) await ask(index, photo, true);
  for (let round = 0; round < rounds; round++) {
    for (const index of contenders.keys()) {
      const answer = await ask(index, round % files.length, false);
      if (answer) answers.set(index, [...(answers.get(index) ?? []), answer]);
    }
  }
  return answers;
}

/** Every second photo is kept for the proof. */
async function openPhotos(): Promise<Photos> {
  const files = ['photos', 'photos/free'].flatMap((folder) =>
    filesIn(join(values.assets, folder), /\.jpe?g$/),
  );
  const all = await Promise.all(
    files.map(async (file): Promise<Pixels> => {
      const photo = sharp(file).rotate().resize(side, side, { fit: 'cover' }).removeAlpha().raw();
      return { data: new Uint8Array(await photo.toBuffer()), width: side, height: side };
    }),
  );
  return {
    calibration: all.filter((_, index) => index % 2 === 0),
    proof: all.filter((_, index) => index % 2 === 1),
  };
}

function filesIn(folder: string, names: RegExp): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => names.test(name))
    .sort()
    .map((name) => join(folder, name));
}
