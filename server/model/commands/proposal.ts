// The entry that is proposed for a file: what the command line says and, where it says nothing, what running the model shows or
// the operator answers. What the schema does not take is told field by field.

import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { normaliseStyle } from '../../../config/image-request.ts';
import { ModelFault } from '../entries/fault.ts';
import { modelEntrySchema } from '../entries/model-entry.ts';
import type { UnsealedEntry } from '../entries/seal.ts';
import type { ModelIo } from '../inference/messages.ts';
import { personAtTerminal, settleDoubt } from '../probe/doubt.ts';
import { type Findings, probe } from '../probe/probe.ts';
import type { ValueRange } from '../probe/range-verdict.ts';
import { FAMILIES } from '../styles.ts';
import { type AddValues, presetOf } from './add-options.ts';
import { type AskedStyle, readCount, readLayout, readRange, readSize } from './arguments.ts';

/** What running the model shows of all that the command line does not say. */
export async function findOut(path: string, io: ModelIo, values: AddValues): Promise<Findings> {
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

/** Which values mean black and full light, on both sides of the model. */
export interface Ranges {
  readonly range: ValueRange;
  readonly outRange: ValueRange;
}

const BYTES: ValueRange = [0, 255];

/** The ranges: as the operator says, else as running the model showed, else as the operator answers. */
export async function rangesOf(
  { range: verdict }: Findings,
  io: ModelIo,
  values: AddValues,
): Promise<Ranges> {
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
export function proposeEntry({
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
  style: AskedStyle | undefined;
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

/** The entry of a generator, when the schema takes it. */
export function proposed(proposal: unknown): UnsealedEntry {
  return parsedWith(modelEntrySchema.omit({ sha256: true, golden: true }), proposal);
}

/**
 * What a schema makes of a proposal.
 * @throws {ModelFault} with every field that it does not take.
 */
export function parsedWith<T>(schema: z.ZodType<T>, proposal: unknown): T {
  const parsed = schema.safeParse(proposal);
  if (parsed.success) return parsed.data;
  throw new ModelFault(
    parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
  );
}
