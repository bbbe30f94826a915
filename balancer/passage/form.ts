// Finds the picture and the text fields in one whole body. Pure: no streams, no copies; the picture is a view of the body.
// The only place where bodies are parsed; workers get what was found here and never see the client's bytes.
//
// Multipart is split with Buffer.indexOf rather than a stream parser, since the body is whole: 200 KB take microseconds.
// `form.test.ts` holds it against busboy. It is stricter: what could be read in two ways is refused.

import { PATHS, predictRequestSchema } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { PICTURE_FIELDS } from '../../config/image-request.ts';
import { formatSize } from '../../config/units.ts';

/** What a body holds. */
export interface Form {
  readonly picture: Buffer;
  /** The multipart field that held the picture; undefined for raw bodies and JSON. */
  readonly pictureField: string | undefined;
  /** Text fields, in order; a name may come twice. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** How a body is to be read, from its headers alone. */
export type BodyKind =
  | { readonly kind: 'multipart'; readonly boundary: string }
  | { readonly kind: 'raw' }
  | { readonly kind: 'json' };

const MAX_PARTS = 20;
const MAX_FIELD_BYTES = 4096;
const MAX_PART_HEAD_BYTES = 4096;
const MAX_NAME_CHARS = 100;
/** What a multipart body may have beside its picture. */
export const MULTIPART_OVERHEAD_BYTES = 128 * 1024;

/** RFC 2046: 1 to 70 characters of a small set. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;

/**
 * How a path's body is to be read. What is not multipart is a raw picture: its bytes tell, not its Content-Type.
 * @throws {ToonError} `bad_request` for multipart without a usable boundary.
 */
export function bodyKindOf(path: string, contentType: string | undefined): BodyKind {
  if (path === PATHS.predict) return { kind: 'json' };
  const [type = ''] = (contentType ?? '').split(';', 1);
  const media = type.trim().toLowerCase();
  if (!media.startsWith('multipart/')) return { kind: 'raw' };
  if (media !== 'multipart/form-data')
    throw new ToonError('bad_request', {
      detail: `Found a body of type ${media}; send multipart/form-data or the picture itself.`,
    });
  const boundary = boundaryOf((contentType ?? '').slice(type.length));
  if (boundary === undefined)
    throw new ToonError('bad_request', {
      detail: 'The Content-Type names no usable multipart boundary (1 to 70 characters).',
    });
  return { kind: 'multipart', boundary };
}

/**
 * Parses a whole body.
 * @throws {ToonError} `bad_request`, `empty_image` or `upload_too_large`.
 */
export function parseForm(path: string, kind: BodyKind, body: Buffer, maxPictureBytes: number): Form {
  const form = parse(path, kind, body);
  if (form.picture.length === 0) throw new ToonError('empty_image', { detail: 'The picture is empty.' });
  if (form.picture.length > maxPictureBytes)
    throw new ToonError('upload_too_large', {
      detail: `A picture may have at most ${formatSize(maxPictureBytes)}.`,
    });
  return form;
}

function parse(path: string, kind: BodyKind, body: Buffer): Form {
  switch (kind.kind) {
    case 'raw':
      return { picture: body, pictureField: undefined, fields: [] };
    case 'json':
      return parsePredict(body);
    case 'multipart':
      return parseMultipart(body, kind.boundary, PICTURE_FIELDS[path] ?? []);
  }
}

const bad = (detail: string) => new ToonError('bad_request', { detail });

/** One part of a multipart body. */
export interface Part {
  readonly name: string;
  /** Present when the part says it is a file, empty or not. */
  readonly filename: string | undefined;
  readonly contentType: string | undefined;
  readonly content: Buffer;
}

function parseMultipart(body: Buffer, boundary: string, pictureFields: readonly string[]): Form {
  const fields: [string, string][] = [];
  let picture: Part | undefined;
  for (const part of splitMultipart(body, boundary)) {
    if (!pictureFields.includes(part.name)) {
      if (part.filename !== undefined)
        throw bad(
          `Found a file in the field "${clip(part.name)}"; the picture belongs in ${allowed(pictureFields)}.`,
        );
      if (part.content.length > MAX_FIELD_BYTES)
        throw bad(`The field "${clip(part.name)}" has more than ${MAX_FIELD_BYTES} bytes.`);
      fields.push([part.name, part.content.toString('utf8')]);
      continue;
    }
    if (picture) throw bad('Found two pictures; send one a request.');
    picture = part;
  }
  if (!picture)
    throw new ToonError('empty_image', {
      detail: `No picture was found; send it in ${allowed(pictureFields)}.`,
    });
  return { picture: picture.content, pictureField: picture.name, fields };
}

const CRLF2 = Buffer.from('\r\n\r\n');
const DASH = 0x2d;
const CR = 0x0d;
const LF = 0x0a;

/**
 * Splits a whole multipart body into its parts.
 * @throws {ToonError} `bad_request` for anything that RFC 2046 and RFC 7578 do not allow.
 */
export function splitMultipart(body: Buffer, boundary: string): Part[] {
  const parts: Part[] = [];
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  let at = firstDelimiter(body, delimiter);
  while (true) {
    // `at` stands right behind a delimiter: "--" closes, CRLF opens a part.
    if (body[at] === DASH && body[at + 1] === DASH) return parts;
    if (body[at] !== CR || body[at + 1] !== LF) throw bad('The multipart body is not well formed.');
    at += 2;
    if (parts.length === MAX_PARTS) throw bad(`Found more than ${MAX_PARTS} parts.`);
    // Two bytes back: a delimiter may begin with the very CRLF that ended the one before it. Any occurrence is one: RFC
    // 2046 forbids them within a part, and a line that only begins like one would be read in two ways.
    const end = body.indexOf(delimiter, at - 2);
    if (end === -1) throw bad('The multipart body ends before its closing boundary.');
    if (end < at) throw bad('A part has no headers.');
    parts.push(readPart(body.subarray(at, end)));
    at = end + delimiter.length;
  }
}

/** The place behind the first delimiter, which may stand at the very beginning or behind a preamble. */
function firstDelimiter(body: Buffer, delimiter: Buffer): number {
  const opening = delimiter.subarray(2);
  if (body.subarray(0, opening.length).equals(opening)) return opening.length;
  const start = body.indexOf(delimiter);
  if (start === -1) throw bad('The multipart boundary does not occur in the body.');
  return start + delimiter.length;
}

function readPart(part: Buffer): Part {
  const headEnd = part.indexOf(CRLF2);
  if (headEnd === -1) throw bad('A part has no headers.');
  if (headEnd > MAX_PART_HEAD_BYTES)
    throw bad(`A part has more than ${MAX_PART_HEAD_BYTES} bytes of headers.`);
  const content = part.subarray(headEnd + 4);
  let disposition: string | undefined;
  let contentType: string | undefined;
  for (const line of part.toString('utf8', 0, headEnd).split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon < 1 || /[\r\n\0]/.test(line)) throw bad('A part has a broken header.');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'content-disposition') {
      if (disposition !== undefined) throw bad('A part has two Content-Disposition headers.');
      disposition = value;
    } else if (name === 'content-type') {
      contentType = value;
    } else if (name === 'content-transfer-encoding' && !/^(binary|7bit|8bit)$/i.test(value)) {
      // RFC 7578 4.7: not to be used, and nobody decodes it.
      throw bad(`Found Content-Transfer-Encoding "${clip(value)}"; send the bytes as they are.`);
    }
  }
  const params = dispositionParams(disposition);
  const name = params?.get('name');
  if (name === undefined || name.length > MAX_NAME_CHARS)
    throw bad('A part has no usable name in its Content-Disposition.');
  return { name, filename: params?.get('filename') ?? params?.get('filename*'), contentType, content };
}

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** `form-data; name="a"; filename="b"` as a map; undefined when it is anything else. A linear scan, no backtracking. */
function dispositionParams(value: string | undefined): Map<string, string> | undefined {
  if (value === undefined || !/^form-data\s*(;|$)/i.test(value)) return undefined;
  const params = new Map<string, string>();
  let at = value.indexOf(';');
  while (at !== -1 && at < value.length) {
    const equals = value.indexOf('=', at);
    if (equals === -1) return value.slice(at + 1).trim() === '' ? params : undefined;
    const name = value
      .slice(at + 1, equals)
      .trim()
      .toLowerCase();
    const token = value[equals + 1] === '"' ? quoted(value, equals + 2) : bare(value, equals + 1);
    if (!token || !TOKEN.test(name) || params.has(name)) return undefined;
    params.set(name, token.text);
    at = value.indexOf(';', token.end);
    if (value.slice(token.end, at === -1 ? undefined : at).trim() !== '') return undefined;
  }
  return params;
}

function bare(value: string, start: number): { text: string; end: number } | undefined {
  const semicolon = value.indexOf(';', start);
  const end = semicolon === -1 ? value.length : semicolon;
  const text = value.slice(start, end).trim();
  // A quote within it would be read differently by others.
  return TOKEN.test(text) ? { text, end } : undefined;
}

/** A quoted string. Browsers write %22 for quotes; others write a backslash before quotes and backslashes. */
function quoted(value: string, start: number): { text: string; end: number } | undefined {
  let text = '';
  for (let at = start; at < value.length; at++) {
    const char = value[at];
    if (char === '"') return { text, end: at + 1 };
    if (char === '\\' && (value[at + 1] === '"' || value[at + 1] === '\\')) at += 1;
    text += value[at];
  }
  return undefined;
}

/** The parameters behind `multipart/form-data`. */
function boundaryOf(params: string): string | undefined {
  const match = /;\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i.exec(params);
  const boundary = match?.[1] ?? match?.[2];
  return boundary !== undefined && BOUNDARY.test(boundary) ? boundary : undefined;
}

/** `{"data": ["data:image/…;base64,…", style?]}`. */
function parsePredict(body: Buffer): Form {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    throw bad('The body is not JSON.');
  }
  const parsed = predictRequestSchema.safeParse(json);
  if (!parsed.success)
    throw bad('The body needs a member "data": a list of 1 to 8 values, the picture as a data URL first.');
  const [picture, style] = parsed.data.data;
  if (picture === null || picture === undefined || picture === '')
    throw new ToonError('empty_image', {
      detail: 'data[0] is empty; a data URL of the picture belongs there.',
    });
  if (typeof picture !== 'string') throw bad('data[0]: found no text; allowed: a data URL of the picture.');
  if (style !== undefined && style !== null && typeof style !== 'string')
    throw bad('data[1]: found no text; allowed: a style.');
  return {
    picture: decodePicture(picture),
    pictureField: undefined,
    fields: typeof style === 'string' && style !== '' ? [['style', style]] : [],
  };
}

/** A data URL with base64, or bare base64, as bytes. */
function decodePicture(text: string): Buffer {
  let start = 0;
  if (text.startsWith('data:')) {
    const comma = text.indexOf(',');
    if (comma === -1 || !text.slice(0, Math.min(comma, 200)).toLowerCase().endsWith(';base64'))
      throw bad('data[0]: found a data URL without base64; allowed: data:image/…;base64,….');
    start = comma + 1;
  }
  const base64 = start === 0 ? text : text.slice(start);
  const bytes = Buffer.from(base64, 'base64');
  // Node passes over what is no base64; then fewer bytes come out than the text has.
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  if (bytes.length !== Math.floor(((base64.length - padding) * 3) / 4))
    throw bad('data[0]: the base64 is damaged.');
  return bytes;
}

const allowed = (fields: readonly string[]) => fields.map((field) => `"${field}"`).join(' or ');
const clip = (value: string) => (value.length > 40 ? `${value.slice(0, 37)}...` : value);
