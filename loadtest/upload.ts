// One picture as the body of one request: multipart as browsers write it, or raw, in pieces that share the picture's
// bytes. Pure.

import { type Cut, mark } from './own-bytes.ts';

/** A body in the order of its pieces, with its exact length. */
export interface Upload {
  readonly contentType: string;
  readonly bytes: number;
  readonly pieces: readonly Buffer[];
}

const BOUNDARY = 'toonfleet-load-7f3b9c1d5e2a4860';
const JOIN_BELOW_BYTES = 16_384;
const END = Buffer.from(`\r\n--${BOUNDARY}--\r\n`);

/** Builds the bodies of one photo; the parts that never change are made once. */
export class UploadTemplate {
  readonly #photo: Cut;
  readonly #heads = new Map<string, Buffer>();

  constructor(photo: Cut) {
    this.#photo = photo;
  }

  /** The body of request number `n` with these form fields before the picture. */
  body(n: number, fields: Readonly<Record<string, string>>): Upload {
    const { kind, before, after } = this.#photo;
    const head = this.#head(fields);
    // Small pieces are joined, since each piece is a write of its own; the bulk of the picture is shared, never copied.
    const pieces =
      before.length < JOIN_BELOW_BYTES
        ? [Buffer.concat([head, before, mark(kind, n)]), after, END]
        : [head, before, Buffer.concat([mark(kind, n), after, END])];
    return {
      contentType: `multipart/form-data; boundary=${BOUNDARY}`,
      bytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
      pieces: pieces.filter((piece) => piece.length > 0),
    };
  }

  /** The picture alone as the body of request number `n`. */
  raw(n: number): Upload {
    const { kind, before, after } = this.#photo;
    const pieces = [before, mark(kind, n), after];
    return {
      contentType: `image/${kind}`,
      bytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
      pieces: pieces.filter((piece) => piece.length > 0),
    };
  }

  #head(fields: Readonly<Record<string, string>>): Buffer {
    const key = JSON.stringify(fields);
    const known = this.#heads.get(key);
    if (known) return known;
    const parts = Object.entries(fields).map(
      ([name, value]) =>
        `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    );
    const { kind } = this.#photo;
    parts.push(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.${kind}"\r\nContent-Type: image/${kind}\r\n\r\n`,
    );
    const head = Buffer.from(parts.join(''), 'utf8');
    this.#heads.set(key, head);
    return head;
  }
}
