// Reads a small JSON body of a call among processes or from an operator. Pictures never come this way.

import type { IncomingMessage } from 'node:http';
import { ToonError } from '../../config/errors.ts';
import { formatSize } from '../../config/units.ts';

/** Such a body is a few hundred bytes. */
const BODY_LIMIT = 64 * 1024;

/**
 * The body as it stands in JSON.
 * @throws {ToonError} `upload_too_large` or `bad_request`.
 */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const text = (await readBytes(request)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ToonError('bad_request', { detail: 'The body is not JSON.' }, { cause });
  }
}

/** Listens instead of iterating: to leave an iteration is to destroy the connection, and with it the refusal. */
function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_LIMIT) chunks.push(chunk);
      else
        reject(
          new ToonError('upload_too_large', { detail: `At most ${formatSize(BODY_LIMIT)} are read here.` }),
        );
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('error', (cause) => reject(new ToonError('client_gone', {}, { cause })));
  });
}
