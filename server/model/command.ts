// `toonfleet models list|pull|add|verify|optimize`: what an operator does with models. Speaks on stdout, faults on stderr.

import { createHash } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { normaliseStyle } from '../../config/image-request.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { detectorPicture, whyOtherMeans } from './detector.ts';
import { type Brought, enter, refuseTaken } from './enter.ts';
import { exactFolderOf, exactOrder } from './exact-order.ts';
import { compositeEntrySchema, detectorEntrySchema } from './face-entries.ts';
import { goldenInput, judge } from './golden.ts';
import type { ModelIo } from './inference-thread.ts';
import {
  computedOn,
  type InstalledDetector,
  installedIn,
  installedModels,
  MODEL_NAME,
  ModelFault,
  modelEntrySchema,
  SOURCE_VARIANT,
  STYLE_ID,
  type TensorFormat,
} from './manifest.ts';
import { maskOf } from './mask-file.ts';
import { isPreset, PRESETS } from './presets.ts';
import { personAtTerminal, settleDoubt } from './probe/doubt.ts';
import { type Findings, probe } from './probe/probe.ts';
import type { ValueRange } from './probe/range-verdict.ts';
import type { CatalogueEntry } from './pull/catalogue.ts';
import { manifestText, seal, sealDetector, type UnsealedEntry } from './seal.ts';
import { type Inference, startInference } from './session.ts';
import { FAMILIES } from './styles.ts';
import { enterThumbnail } from './thumbnail.ts';

const USAGE = `toonfleet models: the models that workers draw with

usage:
  toonfleet models list [--json]
  toonfleet models verify [--json]
  toonfleet models add FILE --name NAME --style ID[:TITLE] --licence LICENCE --accept-licence [options]
  toonfleet models add FILE --detector --name NAME --licence LICENCE --accept-licence [--preset NAME]
  toonfleet models compose --name NAME --style ID[:TITLE] --detector NAME --face NAME --background NAME [options]
  toonfleet models pull [NAME --accept-licence] [--sha256 HEX] [--style ID[:TITLE]]
  toonfleet models optimize NAME [--int8 --photos DIR] [--size 512] [--psnr 35] [--dry-run]

examples:
  toonfleet models add AnimeGANv3_Hayao_36.onnx --name hayao-36 --style hayao:Hayao \\
      --licence "AnimeGANv3: non-commercial" --accept-licence
  toonfleet models add cute.onnx --name tiny-cute --style cute --licence "non-commercial" --accept-licence \\
      --multiple 16 --min-side 256
  toonfleet models pull animeganv3-hayao --accept-licence
  toonfleet models optimize hayao-36 --int8 --photos ~/photos

options of add (what is left out is found out by running the model on a drawn photo, which says how sure it is):
  --layout NHWC|NCHW      where the colour channels stand
  --channels RGB|BGR      their order                                  (RGB)
  --range LOW,HIGH        the values of black and of full light        (-1,1, 0,1 or 0,255, whichever draws the photo)
  --out-range LOW,HIGH    the same for the output                      (as --range, where that is given)
  --multiple N            both sides are multiples of N                (the least that draws)
  --min-side N            smaller pictures are enlarged to N px        (256)
  --fixed WxH             the only size that the model takes
  --alias NAME            another name of the style; may come several times
  --source TEXT           where the file came from
  --dry-run               say what would be written, and write nothing

  --preset NAME           the numbers of a known model: dct-net-head, dct-net-background, retinaface-mobilenet
  --part                  it only draws parts for a composite, and is no style by itself
  --detector              it finds faces, and says where in RetinaFace's way
  --spec FILE             of a detector: its input and anchors (YAML), where they are not RetinaFace MobileNet's

options of compose, which enters a style that draws faces with one model over what another draws:
  --detector NAME  --face NAME  --background NAME    models that are installed; the background may be an embedded one
  --crop N                the side of the square that the face model draws, px          (512)
  --preset dct-net        DCT-Net's crop and alignment; with its mask: --mask alpha.jpg
  --mask FILE             a grey picture: how much of the crop is seen                  (a soft disc)
  --max-faces N           the largest so many are drawn                                 (8)
  --smallest-face N       smaller ones are left to the background, px                   (32)

add copies the file to models.dir and seals it with its SHA-256 and a golden picture. Workers load it when they are
reloaded: toonfleet reload.

pull brings the weights of a known model from where they are published (or from models.mirrors, through models.proxy),
goes on where it was cut, and adds them; without a NAME it lists the catalogue. --sha256 says what the file must be.

options of optimize, which makes a faster variant of an added model, compares both, and enters it beside the model:
  --int8                  convolutions on bytes; else only the pixels' way in and out becomes part of the graph
  --photos DIR            some photos: half of them show the range of every value, half prove the result
  --size N                the side of the pictures that it is made and compared on     (512)
  --psnr N                the worst quality against the original that is accepted, dB   (35)
  --least-ratio N         how many times as fast it has to be here to be kept           (1.02)
  --dry-run               make it and report, but write nothing

verify loads every installed model and compares both; it exits with 1 on a fault.`;

/** What the command needs of the settings. */
export type ModelsSettings = Pick<LoadedSettings, 'models'> & Partial<Pick<LoadedSettings, 'data_dir'>>;

/** A wrong command line; its message is followed by the usage. */
class UsageFault extends Error {}

/** Runs `toonfleet models ARGS`; the result is the exit code. */
export async function modelsCommand(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const [verb, ...rest] = args;
  try {
    switch (verb) {
      case 'list':
        return list(rest, settings);
      case 'verify':
        return await verify(rest, settings);
      case 'add':
        return await add(rest, settings);
      case 'compose':
        return await compose(rest, settings);
      case 'pull':
        return await pullModel(rest, settings);
      case 'optimize':
        return await optimizeModel(rest, settings);
      case undefined:
      case 'help':
      case '--help':
      case '-h':
        console.log(USAGE);
        return verb === undefined ? 2 : 0;
      default:
        throw new UsageFault(`there is no "models ${verb}"`);
    }
  } catch (error) {
    if (error instanceof UsageFault) {
      console.error(`${error.message}\n\n${USAGE}`);
      return 2;
    }
    if (error instanceof ModelFault) {
      console.error(error.message);
      return 1;
    }
    throw error;
  }
}

const JSON_OPTION = { json: { type: 'boolean' } } as const;

function list(args: readonly string[], settings: ModelsSettings): number {
  const { values } = parse(args, JSON_OPTION);
  const { models, composites, detectors } = installedIn(settings.models.dir);
  const generators = models.map((model) => ({
    model: model.name,
    style: model.styles.map(({ id }) => id).join(' '),
    variants: [SOURCE_VARIANT, ...(model.variants ?? []).map(({ name }) => name)].join(' '),
    size: model.fixed_size ? model.fixed_size.join('×') : `any ×${model.size_multiple}`,
    licence: model.licence,
    file: model.path,
  }));
  const faces = composites.map((model) => ({
    model: model.name,
    style: model.styles.map(({ id }) => id).join(' '),
    variants: model.variant,
    size: `faces ${model.crop}×${model.crop}`,
    licence: model.licence,
    file: `${model.detector.name} + ${model.face.name} over ${model.background.name}`,
  }));
  const finders = detectors.map(({ name, side, licence, path }) => ({
    model: name,
    style: '',
    variants: 'detector',
    size: `up to ${side}`,
    licence,
    file: path,
  }));
  print([...generators, ...faces, ...finders], values.json === true);
  return 0;
}

async function verify(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values } = parse(args, JSON_OPTION);
  const rows = await withInference(async (inference) => {
    const found: { model: string; verdict: string; fault: string }[] = [];
    const tell = (model: string, fault: string | undefined) =>
      found.push({ model, verdict: fault === undefined ? 'right' : 'WRONG', fault: fault ?? '' });
    const { dir, execution_providers: providers } = settings.models;
    const { models, detectors, composites } = installedIn(dir);
    for (const model of computedOn(models, providers)) {
      const fault = await faultOf(async () => {
        await inference.load(model);
        const verdict = judge(
          await inference.run(model, goldenInput(model, model.golden.seed)),
          model.golden,
        );
        if (verdict.kind === 'wrong')
          throw new ModelFault(`model ${model.name} (${model.path}): ${verdict.why}`);
      });
      tell(model.name, fault);
    }
    for (const detector of detectors)
      tell(detector.name, await faultOf(() => verifyDetector(detector, inference)));
    // A composite's parts stand above; what is its own is its mask.
    for (const composite of composites)
      tell(composite.name, await faultOf(async () => void (await maskOf(composite))));
    return found;
  });
  print(rows, values.json === true);
  return rows.some(({ fault }) => fault !== '') ? 1 : 0;
}

async function verifyDetector(detector: InstalledDetector, inference: Inference): Promise<void> {
  await inference.loadDetector(detector);
  const { means } = await inference.detect(detector, detectorPicture(detector, detector.golden.seed));
  const why = whyOtherMeans(means, detector.golden.means);
  if (why) throw new ModelFault(`detector ${detector.name} (${detector.path}): ${why}`);
}

async function faultOf(work: () => Promise<void>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof ModelFault) return error.message;
    throw error;
  }
}

const OPTIMIZE_OPTIONS = {
  int8: { type: 'boolean' },
  photos: { type: 'string' },
  size: { type: 'string' },
  psnr: { type: 'string' },
  'least-ratio': { type: 'string' },
  'dry-run': { type: 'boolean' },
} as const;

function readRatio(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ratio = Number(text);
  if (Number.isFinite(ratio) && ratio >= 0) return ratio;
  throw new UsageFault(`--least-ratio is a number such as 1.02, and not ${text}`);
}

async function optimizeModel(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, OPTIMIZE_OPTIONS);
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0) throw new UsageFault('optimize takes one NAME');
  const { optimize } = await import('./optimize-command.ts');
  const order = {
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

// ---- add ----

const ADD_OPTIONS = {
  name: { type: 'string' },
  style: { type: 'string' },
  licence: { type: 'string' },
  'accept-licence': { type: 'boolean' },
  layout: { type: 'string' },
  channels: { type: 'string' },
  range: { type: 'string' },
  'out-range': { type: 'string' },
  multiple: { type: 'string' },
  'min-side': { type: 'string' },
  fixed: { type: 'string' },
  preset: { type: 'string' },
  detector: { type: 'boolean' },
  spec: { type: 'string' },
  part: { type: 'boolean' },
  alias: { type: 'string', multiple: true },
  source: { type: 'string' },
  'dry-run': { type: 'boolean' },
} as const;

type AddValues = ReturnType<typeof parse<typeof ADD_OPTIONS>>['values'];

async function add(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, ADD_OPTIONS);
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageFault('add takes one FILE');
  const path = resolve(file);
  const found = await ignoreMissing(stat(path));
  if (!found?.isFile()) throw new ModelFault(`${path}: there is no such file`);
  if (values.preset !== undefined && !isPreset(values.preset))
    throw new UsageFault(`--preset: found "${values.preset}"; allowed: ${Object.keys(PRESETS).join(', ')}`);
  if (values.detector) return await addDetector(path, values, settings);
  const { name, style } = identityOf(values);
  return await addFile({ path, name, style, values: withPresetOptions(values) }, settings);
}

/** What the preset of a generator says, as far as an entry may say it. */
type PresetEntry = { readonly [key: string]: unknown } & {
  readonly fixed_size?: readonly number[];
  readonly input?: { readonly range: readonly number[] };
};

const presetOf = ({ preset }: Pick<AddValues, 'preset'>): PresetEntry =>
  isPreset(preset) ? PRESETS[preset] : {};

/** The options with what a preset says where the command line says nothing. */
function withPresetOptions(values: AddValues): AddValues {
  const { channels, size_multiple, min_side, fixed_size, input } = presetOf(values);
  return {
    ...(channels === undefined ? {} : { channels: String(channels) }),
    ...(size_multiple === undefined ? {} : { multiple: String(size_multiple) }),
    ...(min_side === undefined ? {} : { 'min-side': String(min_side) }),
    ...(fixed_size ? { fixed: fixed_size.join('x') } : {}),
    ...(input ? { range: input.range.join(',') } : {}),
    ...values,
  };
}

/** Seals a file and enters it in the manifest. */
async function addFile(
  {
    path,
    name,
    style,
    values,
  }: {
    path: string;
    name: string;
    style: { id: string; title: string } | undefined;
    values: AddValues;
  },
  settings: ModelsSettings,
): Promise<number> {
  refuseTaken(name, settings.models.dir);
  const sealed = await withInference(async (inference) => {
    // Loading first: it refuses what is no ONNX file, or would read other files.
    const { io } = await inference.load({ name, path });
    const findings = await findOut(path, io, values);
    const ranges = await rangesOf(findings, io, values);
    const entry = checked(
      proposeEntry({ name, style, file: `${name}.onnx`, io, values, findings, ...ranges }),
    );
    return await seal(entry, path, inference);
  });
  const text = manifestText([sealed]);
  if (values['dry-run']) {
    console.log(text);
    return 0;
  }
  const { dir } = settings.models;
  await enter(sealed, [{ from: path, to: sealed.file }], dir);
  console.log(text);
  await showLook(name, dir);
  await prepare(name, settings);
  console.log(`${name} was added to ${dir}. Workers draw it after: toonfleet reload`);
  return 0;
}

/** Enters a thumbnail; a style without one is a style all the same. */
async function showLook(name: string, dir: string): Promise<void> {
  try {
    await withInference((inference) => enterThumbnail(name, dir, inference));
  } catch (error) {
    console.error(`there is no thumbnail: ${(error as Error).message}`);
  }
}

// ---- faces ----

/** Seals a detector of faces and enters it. */
async function addDetector(path: string, values: AddValues, settings: ModelsSettings): Promise<number> {
  const name = nameOf(values.name);
  acceptLicence(values);
  const { dir } = settings.models;
  refuseTaken(name, dir);
  const { licence, source = '' } = values;
  const file = `${name}.onnx`;
  const preset = PRESETS[isPreset(values.preset) ? values.preset : 'retinaface-mobilenet'];
  const spec = values.spec === undefined ? {} : await readSpec(resolve(values.spec));
  const schema = detectorEntrySchema.omit({ sha256: true, golden: true });
  const entry = parsedWith(schema, { ...preset, ...spec, name, file, kind: 'detector', licence, source });
  const sealed = await withInference((inference) => sealDetector(entry, path, inference));
  if (!values['dry-run']) await enter(sealed, [{ from: path, to: file }], dir);
  console.log(manifestText([sealed]));
  if (!values['dry-run']) console.log(`${name} was added to ${dir}. Next: toonfleet models compose`);
  return 0;
}

async function readSpec(path: string): Promise<object> {
  const bytes = await ignoreMissing(readFile(path));
  if (!bytes) throw new ModelFault(`${path}: there is no such file`);
  try {
    const spec: unknown = parseYaml(bytes.toString('utf8'), { maxAliasCount: 10 });
    if (typeof spec === 'object' && spec !== null && !Array.isArray(spec)) return spec;
  } catch (error) {
    throw new ModelFault(`${path}: ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
  throw new ModelFault(`${path}: found no fields; allowed are those of a detector, such as anchors`);
}

const COMPOSE_OPTIONS = {
  name: { type: 'string' },
  style: { type: 'string' },
  detector: { type: 'string' },
  face: { type: 'string' },
  background: { type: 'string' },
  preset: { type: 'string' },
  crop: { type: 'string' },
  mask: { type: 'string' },
  'max-faces': { type: 'string' },
  'smallest-face': { type: 'string' },
  alias: { type: 'string', multiple: true },
  'dry-run': { type: 'boolean' },
} as const;

/** Enters a composite of models that are installed. */
async function compose(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, COMPOSE_OPTIONS);
  if (positionals.length > 0) throw new UsageFault('compose takes options only');
  const { dir } = settings.models;
  const name = nameOf(values.name);
  const style = { ...styleOf(values.style), aliases: values.alias ?? [] };
  refuseTaken(name, dir);
  if (values.preset !== undefined && values.preset !== 'dct-net')
    throw new UsageFault(`--preset: found "${values.preset}"; allowed: dct-net`);
  const { detector, face, background } = values;
  const mask = values.mask === undefined ? undefined : await maskFileOf(resolve(values.mask), name);
  const counts = {
    crop: readCount(values.crop),
    max_faces: readCount(values['max-faces']),
    smallest_face: readCount(values['smallest-face']),
  };
  const entry = parsedWith(compositeEntrySchema, {
    ...(values.preset === undefined ? {} : PRESETS[values.preset]),
    ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined)),
    ...(mask ? { mask: { file: mask.to, sha256: mask.sha256 } } : {}),
    ...{ name, kind: 'face-composite', detector, face, background, styles: [style] },
  });
  console.log(manifestText([entry]));
  if (values['dry-run']) return 0;
  await enter(entry, mask ? [mask] : [], dir);
  await showLook(name, dir);
  console.log(`${name} was added to ${dir}. Workers draw it after: toonfleet reload`);
  return 0;
}

async function maskFileOf(from: string, name: string): Promise<Brought & { sha256: string }> {
  const bytes = await ignoreMissing(readFile(from));
  if (!bytes) throw new ModelFault(`${from}: there is no such file`);
  return { from, to: `${name}.mask`, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** Makes now what the first worker would have to make at its start: the graph for this CPU. */
async function prepare(name: string, { models, data_dir }: ModelsSettings): Promise<void> {
  const folder = data_dir === undefined ? undefined : exactFolderOf({ models, data_dir });
  const all = computedOn(installedModels(models.dir), models.execution_providers);
  const model = all.find((each) => each.name === name);
  const order = model && folder !== undefined ? exactOrder(model, folder) : undefined;
  if (!model || !order) return;
  const { variant, why } = await withInference((inference) => inference.load(model, order));
  console.log(
    variant === 'f32' ? `It is drawn with as it is: ${why}.` : 'It is drawn with a graph made for this CPU.',
  );
}

// ---- pull ----

const PULL_OPTIONS = {
  'accept-licence': { type: 'boolean' },
  sha256: { type: 'string' },
  style: { type: 'string' },
  json: { type: 'boolean' },
} as const;

async function pullModel(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, PULL_OPTIONS);
  const [asked, ...more] = positionals;
  if (more.length > 0) throw new UsageFault('pull takes one NAME');
  const { CATALOGUE } = await import('./pull/catalogue.ts');
  const { entryOf, pull } = await import('./pull/pull.ts');
  if (asked === undefined) {
    const rows = CATALOGUE.map(({ name, style, licence, weights }) => ({
      name,
      style,
      licence,
      from: weights.kind === 'onnx' ? new URL(weights.url).host : '(not as an ONNX file)',
      digest: digestWords(weights),
    }));
    print(rows, values.json === true);
    return 0;
  }
  const entry = entryOf(asked);
  const { name, licence, source } = entry;
  if (values.sha256 !== undefined && !/^[0-9a-f]{64}$/.test(values.sha256))
    throw new UsageFault('--sha256: 64 hexadecimal digits');
  refuseTaken(name, settings.models.dir);
  console.error(`${name}: ${licence}; ${source}`);
  if (!values['accept-licence'])
    throw new UsageFault(`--accept-licence: say that you may use these weights under "${licence}"`);
  const [id = '', title = entry.title] = (values.style ?? entry.style).split(/:(.*)/s);
  const pulled = await pull(entry, settings.models, { sha256: values.sha256 });
  if (!pulled.pinned)
    console.error(`its SHA-256 was not known before, and is recorded now: ${pulled.sha256}`);
  try {
    return await addFile(
      {
        path: pulled.path,
        name,
        style: { id, title },
        values: {
          licence,
          source,
          range: entry.range.join(','),
          multiple: String(entry.multiple),
          'min-side': String(entry.minSide),
          alias: [...entry.aliases],
        },
      },
      settings,
    );
  } finally {
    await rm(pulled.path, { force: true });
  }
}

/** What is known of a published file's SHA-256, as the catalogue shows it. */
function digestWords(weights: CatalogueEntry['weights']): string {
  if (weights.kind !== 'onnx') return '';
  return weights.sha256 ?? 'not pinned: recorded at the first pull';
}

function identityOf(values: AddValues): { name: string; style: { id: string; title: string } | undefined } {
  const name = nameOf(values.name);
  acceptLicence(values);
  return { name, style: isPart(values) ? undefined : styleOf(values.style) };
}

function nameOf(name: string | undefined): string {
  if (name !== undefined && MODEL_NAME.test(name)) return name;
  throw new UsageFault('--name: lower-case letters, digits, dots, dashes and underscores');
}

function styleOf(style = ''): { id: string; title: string } {
  const [id = '', title = id] = style.split(/:(.*)/s);
  if (!STYLE_ID.test(id))
    throw new UsageFault('--style: ID or ID:TITLE; an id has lower-case letters, digits, - and _');
  return { id, title: title || id };
}

/** True for a model that only draws parts of pictures, for a composite. */
const isPart = ({ part, preset }: AddValues) => part === true || preset === 'dct-net-head';

function acceptLicence(values: Pick<AddValues, 'licence' | 'accept-licence'>): void {
  if (!values.licence)
    throw new UsageFault('--licence: name the licence of the weights (AnimeGAN weights: "non-commercial")');
  if (!values['accept-licence'])
    throw new UsageFault(`--accept-licence: say that you may use these weights under "${values.licence}"`);
}

/** What running the model shows of all that the command line does not say. */
async function findOut(path: string, io: ModelIo, values: AddValues): Promise<Findings> {
  const known = {
    io,
    layout: readLayout(values.layout),
    channels: values.channels === 'BGR' ? 'BGR' : 'RGB',
    fixed: values.fixed === undefined ? undefined : readSize(values.fixed),
    multiple: readCount(values.multiple),
    rangeKnown: values.range !== undefined,
  } as const;
  const findings = await probe(await readFile(path), known);
  for (const sentence of findings.said) console.error(sentence);
  return findings;
}

interface Ranges {
  readonly range: ValueRange;
  readonly outRange: ValueRange;
}

const BYTES: ValueRange = [0, 255];

/** The ranges: as the operator says, else as running the model showed, else as the operator answers. */
async function rangesOf({ range: verdict }: Findings, io: ModelIo, values: AddValues): Promise<Ranges> {
  const said = readRange(values.range);
  const saidOut = readRange(values['out-range']);
  const bytesOut = io.output.type === 'uint8' ? BYTES : undefined;
  if (said || !verdict) {
    const range = said ?? BYTES;
    return { range, outRange: saidOut ?? bytesOut ?? range };
  }
  const { input, output } =
    verdict.kind === 'sure'
      ? verdict.reading
      : await settleDoubt(verdict, personAtTerminal(), (sentence) => console.error(sentence));
  return { range: input, outRange: saidOut ?? bytesOut ?? output };
}

/** An entry from what the command line says and, where it says nothing, from what the file shows. */
function proposeEntry({
  name,
  style,
  file,
  io,
  values,
  findings,
  range,
  outRange,
}: {
  name: string;
  /** Undefined for a model that only draws parts of pictures. */
  style: { id: string; title: string } | undefined;
  file: string;
  io: ModelIo;
  values: AddValues;
  findings: Findings;
} & Ranges): unknown {
  const { layout, fixed, multiple } = findings;
  const { max_short_side, padding } = presetOf(values);
  return {
    name,
    file,
    kind: 'generator',
    layout,
    channels: values.channels ?? 'RGB',
    input: { type: io.input.type, range },
    output: { type: io.output.type, range: outRange },
    size_multiple: multiple,
    min_side: readCount(values['min-side']) ?? (fixed ? 16 : 256),
    ...(fixed ? { fixed_size: fixed } : {}),
    ...(max_short_side === undefined ? {} : { max_short_side }),
    ...(padding === undefined ? {} : { padding }),
    styles: style ? [{ ...style, aliases: values.alias ?? aliasesFor(name, style.id) }] : [],
    licence: values.licence,
    source: values.source ?? '',
  };
}

/** The model's name is a good alias when people know it. */
function aliasesFor(name: string, id: string): string[] {
  const alias = normaliseStyle(name);
  return alias !== id && FAMILIES.some(({ names }) => names.includes(alias)) ? [alias] : [];
}

function readLayout(text: string | undefined): TensorFormat['layout'] | undefined {
  if (text === undefined || text === 'NHWC' || text === 'NCHW') return text;
  throw new ModelFault(`--layout: found "${text}"; allowed: NHWC or NCHW`);
}

function readSize(text: string): [number, number] {
  const match = /^(\d{1,5})x(\d{1,5})$/.exec(text);
  if (!match) throw new UsageFault(`--fixed: found "${text}"; allowed: WxH, such as 512x512`);
  return [Number(match[1]), Number(match[2])];
}

function readRange(text: string | undefined): [number, number] | undefined {
  if (text === undefined) return undefined;
  const numbers = text.split(',').map(Number);
  const [low, high] = numbers;
  if (numbers.length !== 2 || low === undefined || high === undefined || !(low < high))
    throw new UsageFault(
      `a range: found "${text}"; allowed: LOW,HIGH, such as --range=-1,1 or --range 0,255`,
    );
  return [low, high];
}

function readCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,4}$/.test(text) || Number(text) < 1)
    throw new UsageFault(`found "${text}"; allowed: a whole number from 1 to 9999`);
  return Number(text);
}

function checked(proposal: unknown): UnsealedEntry {
  return parsedWith(modelEntrySchema.omit({ sha256: true, golden: true }), proposal);
}

function parsedWith<T>(schema: z.ZodType<T>, proposal: unknown): T {
  const parsed = schema.safeParse(proposal);
  if (parsed.success) return parsed.data;
  throw new ModelFault(
    parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
  );
}

// ---- the command line ----

function parse<T extends NonNullable<ParseArgsConfig['options']>>(args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageFault((error as Error).message);
  }
}

async function withInference<T>(work: (inference: Inference) => Promise<T>): Promise<T> {
  const inference = startInference((reason) => {
    throw reason;
  });
  try {
    return await work(inference);
  } finally {
    await inference.close();
  }
}

function print(rows: readonly Record<string, string>[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify(rows, null, 2));
    return;
  }
  const names = Object.keys(rows[0] ?? {});
  const width = (name: string) => Math.max(name.length, ...rows.map((row) => (row[name] ?? '').length));
  const line = (cell: (name: string) => string) =>
    names
      .map((name) => cell(name).padEnd(width(name)))
      .join('  ')
      .trimEnd();
  console.log(
    [line((name) => name.toUpperCase()), ...rows.map((row) => line((name) => row[name] ?? ''))].join('\n'),
  );
}

async function ignoreMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
