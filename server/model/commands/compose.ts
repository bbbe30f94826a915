// `toonfleet models compose`: a style that draws faces with one installed model over what another draws.

import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { type Brought, enter, refuseTaken } from '../entries/enter.ts';
import { compositeEntrySchema } from '../entries/face-entries.ts';
import { PRESETS } from '../entries/presets.ts';
import { manifestText } from '../entries/seal.ts';
import { type ModelsSettings, nameOf, parse, readCount, styleOf, UsageFault } from './arguments.ts';
import { readGiven } from './given-file.ts';
import { enterLook } from './look.ts';
import { parsedWith } from './proposal.ts';

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
export async function compose(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, COMPOSE_OPTIONS);
  if (positionals.length > 0) throw new UsageFault('compose takes options only');
  const { dir } = settings.models;
  const name = nameOf(values.name);
  const style = { ...styleOf(values.style), aliases: values.alias ?? [] };
  refuseTaken(name, dir, style.id);
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
  await enterLook(name, dir);
  console.log(`${name} was added to ${dir}. Workers draw it after: toonfleet reload`);
  return 0;
}

async function maskFileOf(from: string, name: string): Promise<Brought & { sha256: string }> {
  const bytes = await readGiven(from);
  return { from, to: `${name}.mask`, sha256: createHash('sha256').update(bytes).digest('hex') };
}
