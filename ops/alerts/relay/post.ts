// One POST to a service of somebody else, and what came back. The only file of the relay that opens connections.

import type { Outcome } from './outcome.ts';

const PATIENCE_MS = 10_000;
/** An answer of these services is some hundred bytes. */
const ANSWER_BYTES = 64 * 1024;

/** Sends a body and has the answer judged; a service that cannot be reached is tried again. */
export async function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  judge: (status: number, body: string) => Outcome,
): Promise<Outcome> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return judge(response.status, await beginningOf(response));
  } catch (error) {
    return { kind: 'later', why: reasonOf(error) };
  }
}

async function beginningOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** In words that hold no address: the robot's key stands in it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'could not be asked';
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
  if (error.name === 'TimeoutError') return `no answer within ${PATIENCE_MS / 1000} s`;
  return code ?? error.name;
}
