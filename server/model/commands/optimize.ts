// `toonfleet models optimize`: makes a faster variant of an installed model, shows what it costs and gains, and enters it
// in the manifest. What is rewritten and how it is proven is in optimize/.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import sharp from 'sharp';
import { takeProcessLock } from '../../../ops/process/process-lock.ts';
import { writeFileAtomically } from '../atomic-file.ts';
import { changeEntries, refuseNamed } from '../entries/enter.ts';
import { ModelFault } from '../entries/fault.ts';
import { asVariant, type InstalledModel, installedModels } from '../entries/installed.ts';
import { addedEntries } from '../entries/manifest.ts';
import type { Variant } from '../entries/model-entry.ts';
import { PIXEL_FORMAT } from '../entries/tensor-format.ts';
import { goldenInput, judge, type Pixels } from '../golden.ts';
import { type Optimized, optimizeFloats, optimizeToIntegers } from '../optimize/optimize.ts';
import { startTrial } from '../optimize/trial.ts';
import { type ModelsSettings, parse, readCount, UsageFault } from './arguments.ts';

const OPTIMIZE_OPTIONS = {
  int8: { type: 'boolean' },
  photos: { type: 'string' },
  size: { type: 'string' },
  psnr: { type: 'string' },
  'least-ratio': { type: 'string' },
  'dry-run': { type: 'boolean' },
} as const;

/** Makes a variant of one model, as the command line says. */
export async function optimizeModel(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, OPTIMIZE_OPTIONS);
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0) throw new UsageFault('optimize takes one NAME');
  const order: OptimizeOrder = {
    name,
    int8: values.int8 ?? false,
    photos: values.photos,
    side: readCount(values.size) ?? 512,
    leastPsnr: readCount(values.psnr) ?? 35,
    leastRatio: readRatio(values['least-ratio']) ?? 1.02,
    dryRun: values['dry-run'] ?? false,
  };
  await optimize(order, settings.models.dir);
  return 0;
}

function readRatio(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ratio = Number(text);
  if (Number.isFinite(ratio) && ratio >= 0) return ratio;
  throw new UsageFault(`--least-ratio is a number such as 1.02, and not ${text}`);
}

/** What the command line says. */
interface OptimizeOrder {
  readonly name: string;
  readonly int8: boolean;
  /** The side of the pictures that it is calibrated and compared on, px. */
  readonly side: number;
  /** A folder of photos; needed for int8. */
  readonly photos: string | undefined;
  /** dB */
  readonly leastPsnr: number;
  /** How many times as fast it has to be to be worth a file. */
  readonly leastRatio: number;
  readonly dryRun: boolean;
}

const MOST_PHOTOS = 24;
const READABLE = new Set(['.jpg', '.jpeg', '.png', '.webp']);

/**
 * Makes a variant.
 * @throws {ModelFault} with what is wrong, in words for an operator.
 */
async function optimize(order: OptimizeOrder, dir: string): Promise<void> {
  const model = installedModels(dir).find(({ name }) => name === order.name);
  if (!model) throw new ModelFault(`no model ${order.name} is installed; see: toonfleet models list`);
  if (model.embedded)
    throw new ModelFault(`model ${model.name} takes and gives bytes already, and has no weights to rewrite`);
  const file = readFileSync(model.path);
  const digest = createHash('sha256').update(file).digest('hex');
  if (digest !== model.sha256)
    throw new ModelFault(`${model.path} has changed; see: toonfleet models verify`);
  if (order.int8 && order.photos === undefined)
    throw new ModelFault(
      '--int8 learns the range of every value from photos; name a folder of some with --photos',
    );
  const name = order.int8 ? 'int8' : 'pixels';
  refuseNamed(
    variantFileOf(model, name),
    addedEntries(dir).filter((entry) => entry.name !== model.name),
  );

  // For all of the time: of two that work on one variant, the second would write over the file that the first one entered.
  const lock = order.dryRun ? undefined : takeLock(model, name);
  try {
    await make(model, file, { order, name, dir });
  } finally {
    lock?.release();
  }
}

function takeLock(model: InstalledModel, name: string): { release(): void } {
  const lock = takeProcessLock(`${asVariantPath(model, name)}.lock`, `optimising ${model.name} to ${name}`);
  if (lock.kind === 'held') throw new ModelFault(`${lock.sentence}; nothing was written`);
  return lock;
}

interface Making {
  readonly order: OptimizeOrder;
  /** Of the variant. */
  readonly name: string;
  readonly dir: string;
}

async function make(model: InstalledModel, file: Uint8Array, { order, name, dir }: Making): Promise<void> {
  const { calibration, proof } = await picturesFor(model, order);
  const { leastPsnr, leastRatio } = order;
  const [fixed] = model.fixed_size ?? [];
  const widths = { multiple: fixed ?? model.size_multiple, least: fixed ?? model.min_side };
  const task = {
    file,
    format: model,
    widths,
    calibration,
    proof,
    leastPsnr,
    leastRatio,
    say: console.error,
  };
  const made = order.int8 ? await optimizeToIntegers(task) : await optimizeFloats(task);
  await proveGolden(model, made.file);
  report(made);
  if (made.ratio < order.leastRatio)
    throw new ModelFault(
      `it would be ${made.ratio.toFixed(2)} times as fast; that is not worth a variant, nothing was written`,
    );
  if (order.dryRun) return;
  await install(model, made, name, dir);
}

/** Every second photo is kept for the proof, and one of them comes in another size where the model allows it. */
async function picturesFor(model: InstalledModel, { photos, side }: OptimizeOrder) {
  const round = (px: number) =>
    Math.max(model.min_side, Math.ceil(px / model.size_multiple) * model.size_multiple);
  const [width, height] = model.fixed_size ?? [round(side), round(side)];
  if (photos === undefined) {
    const drawn = goldenInput({ ...model, min_side: round(side) }, 2);
    return { calibration: [drawn], proof: [drawn] };
  }
  const files = photosIn(photos);
  const open = (file: string, size: [number, number]) => openPhoto(file, ...size);
  const shown = files.filter((_, index) => files.length < 4 || index % 2 === 0);
  const hidden = files.filter((_, index) => files.length < 4 || index % 2 === 1);
  const calibration = await Promise.all(shown.map((file) => open(file, [width, height])));
  const proof = await Promise.all(hidden.map((file) => open(file, [width, height])));
  const [first] = hidden;
  if (!model.fixed_size && first !== undefined)
    proof.push(await open(first, [round(side * 0.75), round(side)]));
  return { calibration, proof };
}

function photosIn(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch (error) {
    throw new ModelFault(`--photos: ${folder} cannot be read`, { cause: error });
  }
  const files = names.filter((name) => READABLE.has(extname(name).toLowerCase())).slice(0, MOST_PHOTOS);
  if (files.length === 0) throw new ModelFault(`--photos: there is no JPEG, PNG or WebP in ${folder}`);
  return files.map((name) => join(folder, name));
}

async function openPhoto(file: string, width: number, height: number): Promise<Pixels> {
  try {
    // From bytes: codec.ts, which commands load too, takes the readers of files away.
    const photo = sharp(readFileSync(file))
      .rotate()
      .resize(width, height, { fit: 'cover' })
      .toColourspace('srgb');
    const data = await photo.removeAlpha().raw().toBuffer();
    return { data: new Uint8Array(data), width, height };
  } catch (error) {
    throw new ModelFault(`${file} is no photo that can be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The golden picture is what every worker will judge the variant by. */
async function proveGolden(model: InstalledModel, file: Uint8Array): Promise<void> {
  const trial = await startTrial(file, PIXEL_FORMAT);
  try {
    const picture = goldenInput(model, model.golden.seed);
    const { data } = await trial.draw(picture);
    const verdict = judge({ ...picture, data: new Uint8Array(data) }, model.golden);
    if (verdict.kind === 'wrong') throw new ModelFault(`nothing was written: ${verdict.why}`);
  } finally {
    await trial.close();
  }
}

function report({ layers, pictures, ratio, cpuMs }: Optimized): void {
  for (const { name, channels, db } of layers)
    console.log(
      `${db === undefined ? 'stays float' : `${db.toFixed(1).padStart(8)} dB`}  ${channels} channels  ${name}`,
    );
  for (const each of pictures)
    console.log(
      `${each.width}×${each.height}: PSNR ${each.psnr.toFixed(1)} dB, SSIM ${each.ssim.toFixed(4)}`,
    );
  console.log(
    `CPU time ${cpuMs.before.toFixed(0)} ms → ${cpuMs.after.toFixed(0)} ms: ${ratio.toFixed(2)} times as fast here`,
  );
}

const variantFileOf = (model: InstalledModel, name: string) => `${model.name}.${name}.onnx`;
const asVariantPath = (model: InstalledModel, name: string) =>
  join(dirname(model.path), variantFileOf(model, name));

async function install(model: InstalledModel, made: Optimized, name: string, dir: string): Promise<void> {
  const variant: Variant = {
    name,
    file: variantFileOf(model, name),
    sha256: createHash('sha256').update(made.file).digest('hex'),
    psnr: rounded(Math.min(...made.pictures.map(({ psnr }) => psnr)), 2),
    ssim: rounded(Math.min(...made.pictures.map(({ ssim }) => ssim)), 4),
    ratio: rounded(made.ratio, 2),
  };
  const { path } = asVariant(model, variant);
  // The file first: a manifest that names it may be read at any time.
  await writeFileAtomically(path, made.file);
  await changeEntries(dir, (entry) =>
    entry.kind === 'generator' && entry.name === model.name
      ? { ...entry, variants: [...(entry.variants ?? []).filter((each) => each.name !== name), variant] }
      : entry,
  );
  console.log(
    `${variant.file} was added to ${dirname(path)}. Workers may draw with it after: toonfleet reload`,
  );
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
