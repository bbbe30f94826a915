// What one picture request asks for, read the same way by the balancer and by a worker: from the path, the query,
// the form fields and `Accept` to one ImageRequest, and back to a query for the way to a worker. Pure.

import { z } from 'zod';
import { PATHS } from './contract.ts';
import { ToonError } from './errors.ts';
import { type PictureKind, pictureKinds } from './picture.ts';

/** The faces that an answer can have; one call, many shapes. */
export type AnswerShape =
  /** The bare picture. */
  | 'picture'
  /** The bare picture as a download. */
  | 'attachment'
  /** `imageResultSchema` of the contract. */
  | 'image-result'
  /** `transformResultSchema` of the contract. */
  | 'transform-result'
  /** `predictResultSchema` of the contract. */
  | 'predict-result';

/** One picture request, understood. */
export interface ImageRequest {
  readonly shape: AnswerShape;
  /** The asked style or alias; undefined asks for the default. */
  readonly style: string | undefined;
  /** The format of the picture, also inside JSON. */
  readonly format: PictureKind;
  /** The longest side of the answer, px. */
  readonly maxSide: number;
  /** 1-100, for JPEG and WebP; undefined takes the encoder's default. */
  readonly quality: number | undefined;
  readonly effort: 'fast' | 'auto' | 'full';
  /** Whether a style that draws faces by themselves looks for them; other styles never do. */
  readonly faces: 'auto' | 'off';
  /** Whether a JSON answer carries the picture itself. */
  readonly base64: boolean;
}

/** The raw material of one request. */
export interface ImageRequestSource {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Text fields of the form, in order; a name may come twice. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The multipart field that held the picture; undefined for raw bodies and JSON. */
  readonly pictureField: string | undefined;
  readonly accept: string | undefined;
}

/** A style's name as it is compared: lower case, `_` for blanks, dots and dashes, no file extension. */
export function normaliseStyle(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/\.(onnx|pb|pt|ckpt)$/, '')
    .replace(/[\s.-]+/g, '_');
}

/** The multipart fields that may hold the picture, by path. */
export const PICTURE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  [PATHS.images]: ['image', 'file'],
  [PATHS.transform]: ['file', 'image'],
  [PATHS.upload]: ['file', 'image'],
  [PATHS.apiTransform]: ['image', 'file'],
};

const WHOLE_NUMBERS: ReadonlySet<string> = new Set(['max_side', 'quality']);

/** The style of `POST /api/v1/transform` when none is named, as its first speakers had it. */
const API_TRANSFORM_STYLE = 'hayao_64';

/** The parameters of a picture request, as query or as form fields. `maxSide` is the bound of the settings, px. */
export function imageParamsSchema(maxSide: number) {
  return z.object({
    style: z
      .string()
      .regex(/^[^\p{Cc}]{1,100}$/u)
      .meta({ description: 'A style or an alias; see GET /v1/styles.', example: 'meadow' }),
    format: z
      .enum([...pictureKinds, 'jpg', 'json'])
      .meta({ description: 'Format of the answer; wins over Accept. jpg is jpeg.' }),
    max_side: z.coerce
      .number()
      .int()
      .min(16)
      .max(maxSide)
      .meta({ description: 'Longest side of the answer, px.' }),
    quality: z.coerce.number().int().min(1).max(100).meta({ description: 'For JPEG and WebP.' }),
    effort: z.enum(['fast', 'auto', 'full']).meta({
      description:
        '`full` draws the size that was asked for; `fast` half of that side, about a quarter of the work; `auto` like full if that meets the deadline, otherwise the largest size that does.',
    }),
    faces: z.enum(['auto', 'off']).meta({
      description: 'Whether a style that draws faces separately looks for them; other styles never do.',
    }),
    base64: z.enum(['true', 'false']).meta({ description: 'Whether a JSON answer carries the picture.' }),
  });
}

/** Building a schema costs more than using it; a process has one bound, and so one schema. */
const schemas = new Map<number, ReturnType<typeof imageParamsSchema>>();
function schemaFor(maxSide: number): ReturnType<typeof imageParamsSchema> {
  const schema = schemas.get(maxSide) ?? imageParamsSchema(maxSide);
  schemas.set(maxSide, schema);
  return schema;
}

type ParamName = keyof z.infer<ReturnType<typeof imageParamsSchema>>;

/**
 * Understands a picture request.
 * @throws {ToonError} `bad_request` that names the parameter, what was found and what is allowed.
 */
export function readImageRequest(
  source: ImageRequestSource,
  limits: { readonly max_side: number },
): ImageRequest {
  const schema = schemaFor(limits.max_side);
  const read = <N extends ParamName>(name: N): z.infer<(typeof schema.shape)[N]> | undefined => {
    const value = single(name, source);
    if (value === undefined) return undefined;
    const parsed = schema.shape[name].safeParse(value);
    // Number() reads "1e2" and "0x40" too; a person who wrote these meant something else.
    const written = !WHOLE_NUMBERS.has(name) || /^\d+$/.test(value);
    if (parsed.success && written) return parsed.data as z.infer<(typeof schema.shape)[N]>;
    throw new ToonError('bad_request', {
      detail: `${name}: found "${clip(value)}"; allowed: ${allowed(name, limits.max_side)}.`,
    });
  };

  const format = read('format');
  const shape = shapeOf(source, format);
  const request: ImageRequest = {
    shape,
    style: read('style') ?? (source.path === PATHS.apiTransform ? API_TRANSFORM_STYLE : undefined),
    format: pictureFormat(source, format, shape),
    maxSide: read('max_side') ?? limits.max_side,
    quality: read('quality'),
    effort: read('effort') ?? 'full',
    faces: read('faces') ?? 'auto',
    base64: read('base64') !== 'false',
  };
  return request;
}

/**
 * A request as the query of the way to a worker, which reads the same {@link ImageRequest} from it with
 * {@link readImageRequest}. The canonical order makes equal requests equal texts.
 */
export function imageRequestQuery(request: ImageRequest): URLSearchParams {
  const query = new URLSearchParams();
  if (request.style !== undefined) query.set('style', request.style);
  if (request.shape === 'picture') query.set('format', request.format);
  if (request.shape === 'image-result') query.set('format', 'json');
  query.set('max_side', String(request.maxSide));
  if (request.quality !== undefined) query.set('quality', String(request.quality));
  query.set('effort', request.effort);
  if (request.faces === 'off') query.set('faces', 'off');
  if (!request.base64) query.set('base64', 'false');
  return query;
}

/** The one value of a parameter over query and fields. */
function single(name: ParamName, source: ImageRequestSource): string | undefined {
  const values = [
    ...source.query.getAll(name),
    ...source.fields.filter(([field]) => field === name).map(([, value]) => value),
  ];
  const distinct = [...new Set(values)];
  if (distinct.length <= 1) return distinct[0];
  throw new ToonError('bad_request', {
    detail: `${name}: was given as ${distinct.map((v) => `"${clip(v)}"`).join(' and ')}; give it once.`,
  });
}

function shapeOf(
  { path, pictureField, accept }: ImageRequestSource,
  format: string | undefined,
): AnswerShape {
  switch (path) {
    case PATHS.images:
      return (format ?? formatOfAccept(accept)) === 'json' ? 'image-result' : 'picture';
    case PATHS.upload:
      return pictureField === 'image' ? 'transform-result' : 'attachment';
    case PATHS.apiTransform:
      return 'transform-result';
    case PATHS.transform:
      return 'picture';
    default:
      return 'predict-result';
  }
}

function pictureFormat(
  { path, accept }: ImageRequestSource,
  format: string | undefined,
  shape: AnswerShape,
): PictureKind {
  if (path !== PATHS.images) {
    if (format === undefined || format === 'png') return 'png';
    throw new ToonError('bad_request', {
      detail: `format: ${path} answers PNG; ask ${PATHS.images} for "${format}".`,
    });
  }
  const wanted = format ?? formatOfAccept(accept);
  if (shape === 'image-result' || wanted === 'json') return 'png';
  return wanted === 'jpg' ? 'jpeg' : (wanted as PictureKind);
}

/**
 * The format that an `Accept` header asks for: JPEG, WebP or JSON only when it is preferred over PNG and no HTML is
 * asked for; otherwise PNG. Never "not acceptable".
 */
export function formatOfAccept(accept: string | undefined): PictureKind | 'json' {
  const ranges = (accept ?? '*/*').slice(0, 1000).split(',').map(mediaRange);
  const weight = (type: string) => {
    const [major] = type.split('/');
    const match =
      ranges.find((r) => r.type === type) ??
      ranges.find((r) => r.type === `${major}/*`) ??
      ranges.find((r) => r.type === '*/*');
    return match?.q ?? 0;
  };
  if (ranges.some((range) => range.type === 'text/html' && range.q > 0)) return 'png';
  const candidates = [
    ['jpeg', weight('image/jpeg')],
    ['webp', weight('image/webp')],
    ['json', weight('application/json')],
  ] as const;
  let best: PictureKind | 'json' = 'png';
  let bestWeight = weight('image/png');
  for (const [format, q] of candidates) {
    if (q > bestWeight) [best, bestWeight] = [format, q];
  }
  return best;
}

function mediaRange(text: string): { type: string; q: number } {
  const [type = '', ...params] = text.split(';').map((part) => part.trim().toLowerCase());
  const q = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1);
  return { type, q: Number.isFinite(q) ? Math.min(1, Math.max(0, q)) : 0 };
}

function allowed(name: ParamName, maxSide: number): string {
  switch (name) {
    case 'style':
      return 'a style of GET /v1/styles';
    case 'format':
      return 'png, jpeg, webp or json';
    case 'max_side':
      return `a whole number from 16 to ${maxSide}`;
    case 'quality':
      return 'a whole number from 1 to 100';
    case 'effort':
      return 'fast, auto or full';
    case 'faces':
      return 'auto or off';
    case 'base64':
      return 'true or false';
  }
}

const clip = (value: string) => (value.length > 60 ? `${value.slice(0, 57)}...` : value);
