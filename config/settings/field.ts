// The fields that toonfleet.yaml is made of: each a schema and what a person needs to know about it, in one call. What a
// setting is for stands in the file of its section. Pure.

import { z } from 'zod';
import { formatDuration, formatSize, parseDuration, parseSize } from '../units.ts';

/** What a person needs to know about one setting; kept in the schema's metadata. */
export interface SettingDoc {
  readonly kind: 'string' | 'number' | 'boolean' | 'duration' | 'size' | 'enum' | 'list' | 'auto-number';
  /** One sentence on what the setting does. */
  readonly sentence: string;
  /** The values that are accepted, in words. */
  readonly allowed: string;
  /** A value that is accepted, as it would stand in the YAML file. */
  readonly example: string;
  /** The default, in words. */
  readonly fallback: string;
  /** Its values are not repeated in messages: what stands there by mistake may be a secret. */
  readonly hidden?: boolean;
  /** Secrets are read from the environment or from a file with mode 0600, never from the settings file. */
  readonly secret?: boolean;
}

const docs = z.registry<SettingDoc>();

/** The description of a setting's schema, when the schema is a leaf of the settings. */
export function settingDoc(schema: z.ZodType): SettingDoc | undefined {
  return docs.get(schema);
}

/** A whole number within bounds. */
export const whole = (fallback: number, min: number, max: number, sentence: string) =>
  z
    .number()
    .int()
    .min(min)
    .max(max)
    .default(fallback)
    .register(docs, {
      kind: 'number',
      sentence,
      allowed: `a whole number from ${min} to ${max}`,
      example: String(fallback),
      fallback: String(fallback),
    });

/** A share of a hundred. */
export const percent = (fallback: number, min: number, sentence: string) =>
  whole(fallback, min, 100, sentence);

/** A port to listen on. */
export const port = (fallback: number, sentence: string) =>
  whole(fallback, 0, 65535, `${sentence} 0 takes any free port.`);

/** How people write an amount with its unit, and how it is read. */
interface Unit {
  readonly kind: 'duration' | 'size';
  readonly parse: (value: string | number) => number | undefined;
  readonly format: (amount: number) => string;
  readonly examples: string;
}

const amount =
  ({ kind, parse, format, examples }: Unit) =>
  (fallback: string, min: string, max: string, sentence: string) => {
    const low = parse(min) ?? 0;
    const high = parse(max) ?? 0;
    return z
      .union([z.string(), z.number()])
      .transform((value, context) => {
        const found = parse(value);
        if (found !== undefined && found >= low && found <= high) return found;
        context.addIssue({ code: 'custom', message: `not such a ${kind}` });
        return z.NEVER;
      })
      .prefault(fallback)
      .register(docs, {
        kind,
        sentence,
        allowed: `a ${kind} from ${format(low)} to ${format(high)}, such as ${examples}`,
        example: fallback,
        fallback,
      });
  };

/** A duration as people write it; ms once read. */
export const duration = amount({
  kind: 'duration',
  parse: parseDuration,
  format: formatDuration,
  examples: '500ms, 30s or 2m (a bare number is ms)',
});

/** A size as people write it; bytes once read. */
export const size = amount({
  kind: 'size',
  parse: parseSize,
  format: formatSize,
  examples: '512KiB or 20MiB (a bare number is bytes)',
});

/** A text of one pattern, whose meaning is told in words. */
export const text = (fallback: string, pattern: RegExp, allowed: string, example: string, sentence: string) =>
  z
    .string()
    .regex(pattern)
    .default(fallback)
    .register(docs, {
      kind: 'string',
      sentence,
      allowed,
      example,
      fallback: fallback === '' ? '(empty)' : fallback,
    });

/** An address to listen on. */
export const host = (fallback: string, sentence: string) =>
  text(fallback, /^[0-9a-zA-Z.:_-]+$/, 'an IP address or host name', fallback, sentence);

/** A folder. Whether it is there, nobody asks here. */
export const folder = (fallback: string, sentence: string) =>
  text(
    fallback,
    /^[^\0]*$/,
    'a folder; relative ones start at the working directory',
    fallback || './models',
    sentence,
  );

/** A file; empty is none. */
export const file = (example: string, sentence: string) =>
  text('', /^[^\0]*$/, 'a file; relative ones start at the working directory', example, sentence);

/** A switch. */
export const flag = (fallback: boolean, sentence: string) =>
  z
    .boolean()
    .default(fallback)
    .register(docs, {
      kind: 'boolean',
      sentence,
      allowed: 'true or false',
      example: String(fallback),
      fallback: String(fallback),
    });

/** One word of several. */
export const oneOf = <const T extends readonly [string, ...string[]]>(
  values: T,
  fallback: T[number],
  sentence: string,
) =>
  z
    .enum(values)
    .default(fallback as never)
    .register(docs, {
      kind: 'enum',
      sentence,
      allowed: `one of ${values.join(', ')}`,
      example: fallback,
      fallback,
    });

/** A whole number, or `auto` for what suits the machine. */
export const autoWhole = (min: number, max: number, meaning: string, sentence: string) =>
  z
    .union([z.literal('auto'), z.number().int().min(min).max(max)])
    .default('auto')
    .register(docs, {
      kind: 'auto-number',
      sentence,
      allowed: `auto (${meaning}), or a whole number from ${min} to ${max}`,
      example: 'auto',
      fallback: 'auto',
    });

/** A secret. Whoever adds one adds `secretFile` beside it, by the same name with `_file` behind it. */
export const secret = (sentence: string, min = 16) =>
  z
    .string()
    .min(min)
    .max(256)
    .optional()
    .register(docs, {
      kind: 'string',
      sentence,
      allowed: `a secret of ${min} to 256 characters, from the environment or from the file named by the setting with _file behind its name`,
      example: '(made by: openssl rand -hex 24)',
      fallback: '(none)',
      secret: true,
    });

/** The file of a secret. */
export const secretFile = (sentence: string) =>
  text('', /^[^\0]*$/, 'a file that only its owner can read (mode 0600)', '/etc/toonfleet/secret', sentence);

/** What a list says of itself; without a fallback of its own, its default is told as JSON. */
type ListDoc = Omit<SettingDoc, 'kind' | 'fallback' | 'secret'> & { readonly fallback?: string };

/** A list; empty unless told otherwise. */
export const list = <T extends z.ZodType>(rows: z.ZodArray<T>, doc: ListDoc, fallback: z.output<T>[] = []) =>
  rows
    .default(fallback as never)
    .register(docs, { kind: 'list', ...doc, fallback: doc.fallback ?? JSON.stringify(fallback) });

/** HOST:PORT, with an IPv6 address in brackets. */
export const HOST_PORT = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/;

/** An http(s) origin without a path, a query or credentials: what an upstream or an agent is reached by. */
export const origin = z
  .string()
  .transform((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const plain = url && /^https?:$/.test(url.protocol) && !url.username && !url.search && !url.hash;
    if (url && plain && (url.pathname === '/' || url.pathname === '')) return url.origin;
    context.addIssue({ code: 'custom', message: 'not an origin' });
    return z.NEVER;
  })
  .register(docs, {
    kind: 'string',
    sentence: 'Where it is reached.',
    allowed: 'http://HOST:PORT without a path',
    example: 'http://10.0.0.11:8001',
    fallback: '(needed)',
  });

/** A group of fields, which may be left out: then each has its default. */
export const room = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).prefault({} as never);
