// The body of a picture request: multipart and JSON by koa-body, anything else as the raw bytes of a picture.
// Everything goes to memory under limits that are all set by hand; nothing is ever written to disk.

import type { IncomingMessage } from 'node:http';
import { Writable } from 'node:stream';
import type { Context, Middleware } from 'koa';
import { koaBody } from 'koa-body';
import { HEADERS, PATHS, predictRequestSchema } from '../config/contract.ts';
import { ToonError } from '../config/errors.ts';
import { PICTURE_FIELDS } from '../config/image-request.ts';
import { formatSize } from '../config/units.ts';
import { exchangeOf, within } from './exchange.ts';

/** The picture of a request and what came with it. */
export interface Upload {
  readonly picture: Buffer;
  /** The multipart field that held the picture; undefined for raw bodies and JSON. */
  readonly pictureField: string | undefined;
  /** Text fields, in order of their names' first appearance. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** What an upload may take. */
export interface UploadLimits {
  /** Bytes of a picture. */
  readonly upload: number;
  /** Bytes of a JSON body. */
  readonly json: number;
  /** How long the body may take, ms. */
  readonly timeout: number;
}

/** Reads the upload of a picture request on one of the paths. */
export type ReadUpload = (ctx: Context, path: string) => Promise<Upload>;

/** Room for a form's boundaries and text fields beside its picture. */
const FORM_ROOM_BYTES = 128 * 1024;
const MAX_FIELDS = 20;
const MAX_FIELDS_BYTES = 64 * 1024;

/** Codes of formidable's errors; it exports them untyped and without their meaning. */
const FORMIDABLE = {
  aborted: 1002,
  maxFieldsSize: 1006,
  maxFields: 1007,
  totalTooBig: 1009,
  emptyFile: 1010,
  maxFiles: 1015,
  fileTooBig: 1016,
} as const;

/** Makes the reader. koa-body is set up once a kind of body, not once a request. */
export function createUploadReader(limits: UploadLimits): ReadUpload {
  const parseForm = koaBody({
    multipart: true,
    json: false,
    urlencoded: false,
    text: false,
    formidable: {
      maxFiles: 1,
      maxFileSize: limits.upload,
      maxTotalFileSize: limits.upload,
      maxFields: MAX_FIELDS,
      maxFieldsSize: MAX_FIELDS_BYTES,
      allowEmptyFiles: false,
      fileWriteStreamHandler: toMemory,
      onPart: (part, handle) => {
        // The types of formidable have the file's name only where there is one; it hands over null.
        sortPart(part as unknown as FormPart);
        handle(part);
      },
    },
    onError: (error) => {
      throw formFault(error, limits);
    },
  });
  const parseJson = koaBody({
    json: true,
    // Whoever posts JSON by hand often forgets to say so.
    jsonTypes: ['application/json', '+json', 'text/plain', 'urlencoded'],
    jsonLimit: limits.json,
    urlencoded: false,
    text: false,
    onError: (error) => {
      throw jsonFault(error, limits);
    },
  });

  return async (ctx, path) => {
    const exchange = exchangeOf(ctx);
    const reader = readerOf(ctx, path, { parseForm, parseJson, limits });
    if (exchange.bodyHeldBack) {
      exchange.bodyHeldBack = false;
      ctx.res.writeContinue();
    }
    const time = Math.min(limits.timeout, exchange.deadline - performance.now());
    return await within(
      reader(),
      time,
      exchange,
      () =>
        new ToonError('upload_too_slow', {
          detail: `The upload was not complete after ${Math.round(time)} ms.`,
        }),
    );
  };
}

interface Parsers {
  readonly parseForm: Middleware;
  readonly parseJson: Middleware;
  readonly limits: UploadLimits;
}

/** Judges the headers and chooses how the body is read. Nothing of it has been read yet. */
function readerOf(
  ctx: Context,
  path: string,
  { parseForm, parseJson, limits }: Parsers,
): () => Promise<Upload> {
  const coding = ctx.get('content-encoding').toLowerCase();
  if (coding !== '' && coding !== 'identity') {
    throw new ToonError('bad_request', {
      detail: `Content-Encoding: found "${coding.slice(0, 60)}"; pictures are compressed already, send them as they are.`,
    });
  }
  const announced = ctx.request.length ?? 0;
  const fields = PICTURE_FIELDS[path];
  if (ctx.is('multipart')) {
    if (!fields) throw new ToonError('bad_request', { detail: `${path} takes JSON: {"data": [DATA_URL]}.` });
    refuseLarger(announced, limits.upload + FORM_ROOM_BYTES, limits.upload, 'picture');
    return () => readForm(ctx, parseForm, fields);
  }
  if (path === PATHS.predict && ctx.is('image/*', 'application/octet-stream') === false) {
    refuseLarger(announced, limits.json, limits.json, 'JSON body');
    return () => readPredict(ctx, parseJson, limits);
  }
  refuseLarger(announced, limits.upload, limits.upload, 'picture');
  return () => readRawPicture(ctx, fields, limits.upload);
}

function refuseLarger(bytes: number, most: number, named: number, what: string): void {
  if (bytes > most) throw tooLarge(named, what);
}

const tooLarge = (most: number, what: string) =>
  new ToonError('upload_too_large', { detail: `A ${what} may have at most ${formatSize(most)}.` });

const noPicture = (fields: readonly string[] | undefined) =>
  new ToonError('empty_image', {
    detail: fields
      ? `Send one picture, as the multipart field ${fields.map((f) => `"${f}"`).join(' or ')}, or as the body with Content-Type: image/*.`
      : 'Send one picture: {"data": ["data:image/jpeg;base64,…"]}.',
  });

// ---- multipart ----

/** A part of a form as formidable hands it over, before it is read as a field or a file. */
interface FormPart {
  originalFilename: string | null;
  mimetype: string | null;
  transferEncoding: string;
}

/**
 * Decides what is a file: formidable takes every part with a content type for one, and every other for a text. But many
 * clients give texts a content type (`text/plain`), and some send files without.
 */
function sortPart(part: FormPart): void {
  const isFile =
    part.originalFilename !== null || /^(image\/|application\/octet-stream)/i.test(part.mimetype ?? '');
  if (isFile) part.mimetype ??= 'application/octet-stream';
  else {
    part.mimetype = null;
    // formidable feeds it to a StringDecoder, which throws on "8bit" where nobody catches. The decoding is done by now.
    part.transferEncoding = 'utf-8';
  }
}

const contents = new WeakMap<object, Buffer[]>();

/** Keeps a file's bytes in memory, findable by the file that formidable gives back. */
function toMemory(file?: object): Writable {
  const chunks: Buffer[] = [];
  if (file) contents.set(file, chunks);
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
}

async function readForm(ctx: Context, parse: Middleware, allowed: readonly string[]): Promise<Upload> {
  await parse(ctx, async () => {});
  const files = Object.entries(ctx.request.files ?? {}).flatMap(([name, file]) =>
    (Array.isArray(file) ? file : [file]).map((each) => ({ name, chunks: contents.get(each) ?? [] })),
  );
  const fields = Object.entries((ctx.request.body ?? {}) as Record<string, string | string[]>).flatMap(
    ([name, value]) => (Array.isArray(value) ? value : [value]).map((each) => [name, each] as const),
  );
  const [file] = files;
  if (file && allowed.includes(file.name))
    return { picture: Buffer.concat(file.chunks), pictureField: file.name, fields };
  const text = fields.find(([name]) => allowed.includes(name));
  if (text) {
    throw new ToonError('bad_request', {
      detail: `${text[0]}: found a text; it has to be a file (with curl: -F ${text[0]}=@photo.jpg).`,
    });
  }
  throw noPicture(allowed);
}

function formFault(error: Error, limits: UploadLimits): ToonError {
  switch ((error as { code?: unknown }).code) {
    case FORMIDABLE.aborted:
      return new ToonError('client_gone', {}, { cause: error });
    case FORMIDABLE.fileTooBig:
    case FORMIDABLE.totalTooBig:
      return tooLarge(limits.upload, 'picture');
    case FORMIDABLE.emptyFile:
      return new ToonError('empty_image', { detail: 'The picture has no bytes.' }, { cause: error });
    case FORMIDABLE.maxFiles:
      return new ToonError('bad_request', { detail: 'Send one picture, not two.' }, { cause: error });
    case FORMIDABLE.maxFields:
    case FORMIDABLE.maxFieldsSize:
      return new ToonError(
        'bad_request',
        {
          detail: `A form may have ${MAX_FIELDS} text fields of ${formatSize(MAX_FIELDS_BYTES)} together; send the picture as a file.`,
        },
        { cause: error },
      );
    default:
      return new ToonError('bad_request', { detail: 'The multipart body is malformed.' }, { cause: error });
  }
}

// ---- JSON ----

async function readPredict(ctx: Context, parse: Middleware, limits: UploadLimits): Promise<Upload> {
  await parse(ctx, async () => {});
  const body = predictRequestSchema.safeParse(ctx.request.body);
  if (!body.success) {
    throw new ToonError('bad_request', {
      detail: 'The body has to be JSON of the form {"data": ["data:image/jpeg;base64,…", "style"]}.',
    });
  }
  const [picture, style] = body.data.data;
  if (style !== undefined && style !== null && typeof style !== 'string')
    throw new ToonError('bad_request', { detail: 'data[1]: found no text; allowed: a style, or null.' });
  return {
    picture: readDataUrl(picture, limits.upload),
    pictureField: undefined,
    fields: style ? [['style', style]] : [],
  };
}

function jsonFault(error: Error & { status?: number; type?: string }, limits: UploadLimits): ToonError {
  if (error.status === 413) return tooLarge(limits.json, 'JSON body');
  if (error.type === 'request.aborted') return new ToonError('client_gone', {}, { cause: error });
  return new ToonError('bad_request', { detail: 'The body is no valid JSON.' }, { cause: error });
}

/** `data:image/…;base64,…` or bare base64. Strict: what does not decode to its full length has other letters in it. */
function readDataUrl(value: unknown, most: number): Buffer {
  if (value === null || value === undefined || value === '') throw noPicture(undefined);
  const wrong = () =>
    new ToonError('bad_request', { detail: 'data[0]: allowed: a data URL of a picture, or bare base64.' });
  if (typeof value !== 'string') throw wrong();
  const comma = value.startsWith('data:') ? value.indexOf(',') : -1;
  const label = value.slice(0, comma + 1);
  if (value.startsWith('data:') && !/^data:[^,]{0,200};base64,$/i.test(label)) throw wrong();
  const base64 = value.slice(comma + 1);
  if (base64 === '') throw noPicture(undefined);
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  const bytes = Math.floor(((base64.length - padding) * 3) / 4);
  if (bytes > most) throw tooLarge(most, 'picture');
  const picture = Buffer.from(base64, 'base64');
  if (picture.length !== bytes || base64.length % 4 === 1) throw wrong();
  return picture;
}

// ---- raw ----

async function readRawPicture(
  ctx: Context,
  fields: readonly string[] | undefined,
  most: number,
): Promise<Upload> {
  const picture = await readRaw(ctx.req, most);
  if (picture.length === 0) throw noPicture(fields);
  const field = ctx.get(HEADERS.uploadField);
  return { picture, pictureField: fields?.includes(field) ? field : undefined, fields: [] };
}

/** Reads a whole body. Leaving early leaves the request as it is, so that an answer can still be written. */
function readRaw(req: IncomingMessage, most: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (outcome: () => void) => {
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      outcome();
    };
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > most) settle(() => reject(tooLarge(most, 'picture')));
      else chunks.push(chunk);
    };
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks, bytes)));
    const onClose = () => settle(() => reject(new ToonError('client_gone')));
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}
