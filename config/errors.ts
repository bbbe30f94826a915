// One row a code: HTTP status, public words, whether a client may simply try again, whether an operator should
// be woken. The docs, the OpenAPI document and the tests list these rows; nothing else invents a code. Pure.

/** What a program may rely on about one kind of failure. */
export interface ErrorRow {
  /** HTTP status of the answer. 499 is written to logs only, since its client is gone. */
  readonly status: number;
  /** The public sentence, safe to show to anybody. */
  readonly title: string;
  /** True when the same request may succeed later without being changed. */
  readonly retryable: boolean;
  /** True when the fault is ours and worth an operator's attention. */
  readonly alarm: boolean;
}

const row = (
  status: number,
  title: string,
  traits: { retryable?: boolean; alarm?: boolean } = {},
): ErrorRow => ({
  status,
  title,
  retryable: traits.retryable ?? false,
  alarm: traits.alarm ?? false,
});

export const ERRORS = {
  bad_request: row(400, 'The request is not well formed.'),
  unknown_style: row(400, 'There is no such style.'),
  empty_image: row(400, 'The picture is missing or empty.'),
  unauthorized: row(401, 'A valid key is needed.'),
  not_found: row(404, 'There is nothing here.'),
  method_not_allowed: row(405, 'This path does not take that method.'),
  upload_too_slow: row(408, 'The upload took too long.', { retryable: true }),
  conflict: row(409, 'The request conflicts with another one.'),
  upload_too_large: row(413, 'The upload is larger than allowed.'),
  unsupported_image: row(415, 'Only JPEG, PNG and WebP pictures are read.'),
  range_not_satisfiable: row(416, 'The asked range is outside the result.'),
  expectation_failed: row(417, 'Only "Expect: 100-continue" is understood.'),
  broken_image: row(422, 'The picture is damaged or incomplete.'),
  image_too_large: row(422, 'The picture has more pixels than allowed.'),
  image_too_small: row(422, 'The picture is too small to be drawn.'),
  idempotency_mismatch: row(422, 'This idempotency key was used with another body.'),
  rate_limited: row(429, 'Too many requests; please wait.', { retryable: true }),
  headers_too_large: row(431, 'The request headers are larger than allowed.'),
  client_gone: row(499, 'The client went away.'),
  internal_error: row(500, 'Something went wrong on our side.', { alarm: true }),
  not_implemented: row(501, 'This transfer coding is not understood.'),
  upstream_failed: row(502, 'The worker failed on this picture, and so did the second try.', { alarm: true }),
  overloaded: row(503, 'All slots are busy; please come back later.', { retryable: true }),
  no_upstream: row(503, 'No worker is available at the moment.', { retryable: true, alarm: true }),
  draining: row(503, 'This server is being taken out of service.', { retryable: true }),
  deadline_exceeded: row(504, 'The picture was not finished before its deadline.', { retryable: true }),
  http_version_not_supported: row(505, 'Only HTTP/1.0 and HTTP/1.1 are spoken here.'),
  storage_full: row(507, 'There is no room to keep the result.', { alarm: true }),
} as const satisfies Record<string, ErrorRow>;

/** A stable code that programs may compare. */
export type ErrorCode = keyof typeof ERRORS;

/** What one failure adds to its row. */
export interface ErrorDetails {
  /** A public sentence about this one failure: what was found and what is allowed. */
  readonly detail?: string;
  /** How long the client should wait, in ms; rounded up to whole seconds on the wire. */
  readonly retryAfterMs?: number;
  /** Methods that the path takes, for 405. */
  readonly allow?: readonly string[];
  /** More public members, such as the list of styles. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** A failure from the table. Its `code` is for programs, its `detail` for people, its `cause` for the log only. */
export class ToonError extends Error {
  override readonly name = 'ToonError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, details: ErrorDetails = {}, options: { cause?: unknown } = {}) {
    super(details.detail ?? ERRORS[code].title, options);
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

/** Any thrown value as a row of the table: what is not ours becomes `internal_error` and keeps its cause for the log. */
export function toToonError(error: unknown): ToonError {
  return error instanceof ToonError ? error : new ToonError('internal_error', {}, { cause: error });
}

/** What Node's HTTP server refuses by itself, before anything of ours sees a request, by Node's own codes. */
const REFUSED_BY_NODE: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'upload_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'upload_too_slow',
};

/** The row for an error of Node's HTTP server (its `clientError`); what has none of its own is no HTTP. */
export const clientErrorCode = ({ code = '' }: { readonly code?: string | undefined }): ErrorCode =>
  REFUSED_BY_NODE[code] ?? 'bad_request';

/**
 * The shape in which a path reports failures: `problem` (RFC 9457) on `/v1/*`, `status` on `/api/v1/*`,
 * `plain` everywhere else.
 */
export type ErrorShape = 'problem' | 'status' | 'plain';

/** Which shape a path's failures have. */
export function errorShapeOf(path: string): ErrorShape {
  if (path === '/v1' || path.startsWith('/v1/')) return 'problem';
  if (path.startsWith('/api/v1/')) return 'status';
  return 'plain';
}

/** An answer that is a failure, ready to be written. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Renders a failure in the shape of its path. Never carries a cause or a stack. */
export function renderError(error: ToonError, shape: ErrorShape, requestId: string): ErrorAnswer {
  const { status, title } = ERRORS[error.code];
  const { detail, retryAfterMs, allow, extra } = error.details;
  const headers: Record<string, string> = {
    'content-type': shape === 'problem' ? 'application/problem+json' : 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  };
  if (retryAfterMs !== undefined)
    headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
  if (allow) headers.allow = allow.join(', ');
  const message = detail ?? title;
  const members = { code: error.code, request_id: requestId, ...extra };
  const body =
    shape === 'problem'
      ? { type: `/docs/errors#${error.code}`, title, status, detail: message, ...members }
      : shape === 'status'
        ? { status: 'error', message, ...members }
        : { error: message, ...members };
  return { status, headers, body: JSON.stringify(body) };
}
