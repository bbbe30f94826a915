// ACME's HTTP challenge (RFC 8555, 8.3): shows an authority the files that an ACME client has put into the webroot.
// The client makes, renews and removes them; here nothing is written.

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { CHALLENGE_PATH } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import type { WholeAnswer } from '../passage/answer.ts';

/** A key authorization is a token, a dot and a digest: below 200 bytes. */
const MAX_BYTES = 1024;

/**
 * The file of a token.
 * @throws {ToonError} `not_found`, also for what cannot be a token: base64url alone, so no path leads out of the folder.
 */
export async function challenge(webroot: string, token: string): Promise<WholeAnswer> {
  if (webroot === '' || !/^[A-Za-z0-9_-]{1,200}$/.test(token)) throw new ToonError('not_found');
  return {
    status: 200,
    headers: { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' },
    body: await readStart(join(webroot, CHALLENGE_PATH, token)),
  };
}

async function readStart(path: string): Promise<Buffer> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw new ToonError('not_found', {}, { cause: error });
  }
}
