// The static site, held in memory: the page, the API docs, the page of errors, openapi.json and the styles' thumbnails.
// Reads its files once, when it is made, and knows nothing of sockets: a caller passes method and path and writes the
// answer. It answers without any worker.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { PATHS } from '../../config/contract.ts';
import { ERRORS } from '../../config/errors.ts';
import { type OpenapiOptions, openapiDocument } from '../../config/openapi.ts';
import { formatSize } from '../../config/units.ts';
import { PACKAGE_ROOT } from './package.ts';
import { fillTemplate } from './template.ts';

/** What the page and the document say about this installation; `limits` is `limits` of the settings. */
export type SiteOptions = OpenapiOptions;

/** The request headers that matter here, as Node gives them. */
export interface SiteRequestHeaders {
  readonly 'if-none-match'?: string | undefined;
  readonly 'accept-encoding'?: string | readonly string[] | undefined;
}

/** An answer, ready to be written. With HEAD and 304 the body is empty. */
export interface SiteAnswer {
  readonly status: 200 | 304;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The site. */
export interface Site {
  /** True for a path of the site, whatever the method; a caller answers other methods than GET and HEAD with 405. */
  owns(path: string): boolean;
  /**
   * Answers GET and HEAD; undefined for other methods and for paths that are not the site's. `path` is without query.
   */
  answer(method: string, path: string, headers: SiteRequestHeaders): SiteAnswer | undefined;
  /** Settles when the texts are compressed; until then they are answered as they are. */
  readonly compressed: Promise<void>;
}

/** The methods that every path of the site takes. */
export const SITE_METHODS = ['GET', 'HEAD'] as const;

interface Resource {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
  readonly cacheControl: string;
  zipped: Buffer | undefined;
}

/** All is ours and none is inline; Swagger UI and the page both live with it. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

const SECURITY_HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json; charset=utf-8',
  svg: 'image/svg+xml; charset=utf-8',
  png: 'image/png',
  webp: 'image/webp',
  ico: 'image/x-icon',
};

/** A name with its hash in it may be kept for ever; anything else is asked for again, which costs a 304. */
const FOR_EVER = 'public, max-age=31536000, immutable';
const ASK_AGAIN = 'no-cache';

const PAGE_DIR = join(PACKAGE_ROOT, 'balancer', 'page');
const THUMBNAILS_DIR = join(PACKAGE_ROOT, 'server', 'models', 'thumbnails');

/** Reads the files and makes the site. */
export function createSite(options: SiteOptions): Site {
  const resources = new Map<string, Resource>();
  const add = (path: string, name: string, body: Buffer | string, cacheControl = ASK_AGAIN) =>
    resources.set(path, resource(name, body, cacheControl));

  // Two names each: `/assets/page-<hash>.js` for the pages, and `/assets/page.js` for whoever asks by hand, or with
  // the hash of another release while a reload has old and new workers side by side.
  const hashed = new Map<string, string>();
  for (const [name, body] of readAssets()) {
    const path = `/assets/${name.replace(/(\.[a-z]+)$/, `-${digest(body).slice(0, 10)}$1`)}`;
    hashed.set(`/assets/${name}`, path);
    add(path, name, body, FOR_EVER);
    add(`/assets/${name}`, name, body);
  }
  const withHashes = (html: string) =>
    html.replace(/\/assets\/[a-z0-9.-]+\.(?:css|js|svg)/g, (path) => hashed.get(path) ?? path);

  const thumbnails = existsSync(THUMBNAILS_DIR)
    ? readdirSync(THUMBNAILS_DIR).filter((name) => /^[a-z0-9][a-z0-9_-]*\.webp$/.test(name))
    : [];
  for (const name of thumbnails) add(`/thumbnails/${name}`, name, readFileSync(join(THUMBNAILS_DIR, name)));

  const values: Readonly<Record<string, string>> = {
    version: options.version,
    upload_bytes: String(options.limits.upload),
    upload_size: formatSize(options.limits.upload).replace(/(\d)([A-Z])/, '$1 $2'),
    max_side: String(options.limits.max_side),
    error_rows: errorRows(),
    style_choices: thumbnails.map((name) => styleChoice(name.slice(0, -'.webp'.length))).join(''),
  };
  const html = (file: string) => withHashes(fillTemplate(readFileSync(join(PAGE_DIR, file), 'utf8'), values));
  add(PATHS.page, 'index.html', html('index.html'));
  for (const path of [PATHS.docs, `${PATHS.docs}/`]) add(path, 'docs.html', html('docs.html'));
  add(`${PATHS.docs}/errors`, 'errors.html', html('errors.html'));
  add(PATHS.openapi, 'openapi.json', JSON.stringify(openapiDocument(options)));
  const mark = readFileSync(join(PAGE_DIR, 'mark.svg'));
  for (const path of ['/favicon.svg', '/favicon.ico']) add(path, 'mark.svg', mark);

  const find = (path: string) =>
    resources.get(path) ??
    resources.get(path.replace(/^(\/assets\/[a-z0-9.-]+?)-[0-9a-f]{10}(\.[a-z]+)$/, '$1$2'));

  return {
    owns: (path) => find(path) !== undefined,
    answer(method, path, headers) {
      if (method !== 'GET' && method !== 'HEAD') return undefined;
      const found = find(path);
      return found && answerWith(found, method, headers);
    },
    compressed: compressAll([...new Set(resources.values())]),
  };
}

function answerWith(found: Resource, method: string, headers: SiteRequestHeaders): SiteAnswer {
  const zipped = acceptsGzip(headers['accept-encoding']) ? found.zipped : undefined;
  const body = zipped ?? found.body;
  const etag = zipped ? found.etag.replace(/"$/, '-gz"') : found.etag;
  const common = {
    ...SECURITY_HEADERS,
    etag,
    'cache-control': found.cacheControl,
    vary: 'accept-encoding',
  };
  if (matches(headers['if-none-match'], etag)) return { status: 304, headers: common, body: EMPTY };
  return {
    status: 200,
    headers: {
      ...common,
      'content-type': found.type,
      'content-length': String(body.length),
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
    },
    body: method === 'HEAD' ? EMPTY : body,
  };
}

const EMPTY = Buffer.alloc(0);

/** RFC 9110, section 13.1.2: the weak comparison. */
function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(etag);
}

function acceptsGzip(header: string | readonly string[] | undefined): boolean {
  const codings = (typeof header === 'string' ? header : (header ?? []).join(',')).toLowerCase().split(',');
  return codings.some((coding) => /^\s*(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/.test(coding));
}

function resource(name: string, body: Buffer | string, cacheControl: string): Resource {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
  if (type === undefined) throw new Error(`the site has no content type for ${name}`);
  return { type, body: bytes, etag: `"${digest(bytes)}"`, cacheControl, zipped: undefined };
}

const digest = (body: Buffer) => createHash('sha256').update(body).digest('hex').slice(0, 32);

const zip = promisify(gzip);

/** On the thread pool, one after the other, so that a start is not held up. Twins share one compressed body. */
async function compressAll(resources: readonly Resource[]): Promise<void> {
  const byTag = new Map<string, Buffer>();
  for (const each of resources) {
    if (/^image\/(?!svg)/.test(each.type)) continue;
    const zipped = byTag.get(each.etag) ?? (await zip(each.body, { level: 9 }));
    byTag.set(each.etag, zipped);
    if (zipped.length < each.body.length) each.zipped = zipped;
  }
}

/** The scripts, styles and pictures of our pages, and the three files of Swagger UI. */
function readAssets(): [name: string, body: Buffer][] {
  const swagger = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const own = readdirSync(PAGE_DIR).filter((name) => /\.(css|js|svg)$/.test(name));
  return [
    ...own.map((name): [string, Buffer] => [name, readFileSync(join(PAGE_DIR, name))]),
    ...['swagger-ui.css', 'swagger-ui-bundle.js'].map((name): [string, Buffer] => [
      name,
      readFileSync(join(swagger, name)),
    ]),
  ];
}

/**
 * For browsers without scripts, which cannot ask for the styles: those that have a thumbnail, thus the embedded ones.
 * With none chosen the server draws its default.
 */
const styleChoice = (id: string) =>
  `<label><input type="radio" name="style" value="${id}"> <img src="/thumbnails/${id}.webp" alt="" width="96" height="96"> ${id}</label>`;

function errorRows(): string {
  return Object.entries(ERRORS)
    .filter(([, { status }]) => status !== 499)
    .map(([code, { status, title, retryable }]) => {
      const again = retryable ? 'yes' : 'no';
      return `<tr id="${code}"><td>${status}</td><td><a href="#${code}"><code>${code}</code></a></td><td>${escapeHtml(title)}</td><td>${again}</td></tr>`;
    })
    .join('\n');
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
