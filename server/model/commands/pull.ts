// `toonfleet models pull`: brings the weights of a known model from where they are published, and adds them.

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { refuseTaken } from '../entries/enter.ts';
import { CATALOGUE, type CatalogueEntry } from '../pull/catalogue.ts';
import { entryOf, pull } from '../pull/pull.ts';
import { inTurn, type Patience } from '../variants/turn.ts';
import { addFile } from './add-file.ts';
import { type AskedStyle, type ModelsSettings, parse, styleOf, UsageFault } from './arguments.ts';
import { print } from './table.ts';

const PULL_OPTIONS = {
  'accept-licence': { type: 'boolean' },
  sha256: { type: 'string' },
  style: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** Pulls and adds one model, or lists the catalogue. */
export async function pullModel(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, PULL_OPTIONS);
  const [asked, ...more] = positionals;
  if (more.length > 0) throw new UsageFault('pull takes one NAME');
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
  const style = askedStyle(values.style, entry);
  refuseTaken(name, settings.models.dir, style.id);
  console.error(`${name}: ${licence}; ${source}`);
  if (!values['accept-licence'])
    throw new UsageFault(`--accept-licence: say that you may use these weights under "${licence}"`);
  const lock = join(settings.models.dir, `${name}.pulled.lock`);
  if (existsSync(lock)) console.error(`another pull of ${name} seems to be under way; waiting for its end`);
  return await inTurn(lock, () => bringAndAdd({ entry, style, sha256: values.sha256 }, settings), PATIENCE);
}

/** Two pulls at once would write into the same file, and the one that ends first would take it from the other. */
const PATIENCE: Patience = { mostMs: 3_600_000, pollMs: 200, staleMs: 3_600_000 };

/** What is pulled, and as what. */
interface Asked {
  readonly entry: CatalogueEntry;
  readonly style: AskedStyle;
  readonly sha256: string | undefined;
}

async function bringAndAdd({ entry, style, sha256 }: Asked, settings: ModelsSettings): Promise<number> {
  const { name, licence, source } = entry;
  // Again: whoever had the turn before may have added it.
  refuseTaken(name, settings.models.dir, style.id);
  const pulled = await pull(entry, settings.models, { sha256 });
  if (!pulled.pinned)
    console.error(`its SHA-256 was not known before, and is recorded now: ${pulled.sha256}`);
  try {
    return await addFile(
      {
        path: pulled.path,
        name,
        style,
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

/** The style of the command line, with the catalogue's title where it gives none; else the catalogue's. */
function askedStyle(asked: string | undefined, { style, title }: CatalogueEntry): AskedStyle {
  return asked === undefined
    ? { id: style, title }
    : styleOf(asked.includes(':') ? asked : `${asked}:${title}`);
}

/** What is known of a published file's SHA-256, as the catalogue shows it. */
function digestWords(weights: CatalogueEntry['weights']): string {
  if (weights.kind !== 'onnx') return '';
  return weights.sha256 ?? 'not pinned: recorded at the first pull';
}
