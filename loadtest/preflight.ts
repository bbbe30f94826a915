// Before any load: is there a server, is it the right one, and does it answer a photo with a picture? A load test
// that finds out halfway has wasted its time and somebody else's.

import { HEADERS, PATHS, styleListSchema } from '../config/contract.ts';
import type { Target } from './exchange.ts';
import { endingOf, type NoAnswer } from './outcome.ts';
import type { Photo } from './pictures.ts';
import { faultOf } from './verify.ts';

/** Why no load was made. `exit` is 3 for an answer that would make any run invalid, 4 for no usable server. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';
  readonly exit: 3 | 4;

  constructor(message: string, exit: 3 | 4) {
    super(message);
    this.exit = exit;
  }
}

/** What the server should be asked for. */
export interface PreflightRequest {
  readonly path: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly styles: readonly string[] | 'all' | 'default';
  readonly maxSide: number;
  readonly allowCache: boolean;
  /** The number of the first picture; no number is ever sent twice. */
  readonly serial: number;
}

/** How many pictures warm the server up, at least one of each style. */
const WARM_UP = 4;

/**
 * Finds the styles, sends the first pictures one by one, and looks into each.
 * @returns the styles to ask for and the mean ms of a picture.
 * @throws {PreflightError} when no load would make sense.
 */
export async function preflight(
  target: Target,
  photos: readonly Photo[],
  request: PreflightRequest,
): Promise<{ readonly styles: string[]; readonly pictureMs: number }> {
  const styles = await stylesOf(target, request.styles);
  const [photo] = photos;
  if (!photo) throw new PreflightError('there is no photo to send', 4);
  const took: number[] = [];
  const rounds = Math.max(WARM_UP, Math.min(styles.length, 3 * WARM_UP));
  for (let round = 0; round < rounds; round++) {
    const sent = photos[round % photos.length] ?? photo;
    const style = styles[round % Math.max(1, styles.length)];
    const fields = style === undefined ? request.fields : { ...request.fields, style };
    const began = performance.now();
    const result = await target.post(request.path, sent.upload.body(request.serial + round, fields), true);
    if (!('bytes' in result)) throw unreachable(target.url, result);
    const { ending } = endingOf(result);
    const said = firstWords(result.body);
    if (ending === 'limited')
      throw new PreflightError(
        `${target.url.origin} answered 429 to the first pictures: you met the rate limit, not the ceiling. ${said}`,
        3,
      );
    if (ending === 'shed')
      throw new PreflightError(
        `${target.url.origin} answered 503 with no load on it: no worker is usable. ${said}`,
        4,
      );
    if (ending === 'failed')
      throw new PreflightError(
        `POST ${request.path} was answered ${result.status}: is ${target.url.origin} a toonfleet, and are style and fields right? ${said}`,
        4,
      );
    const fault =
      ending === 'wrong'
        ? `a body of type ${result.contentType ?? 'unknown'}`
        : await faultOf(result.body ?? Buffer.alloc(0), sent, request.maxSide);
    if (fault !== undefined)
      throw new PreflightError(
        `POST ${request.path} was answered ${result.status}, but with ${fault}: this server draws nothing.`,
        4,
      );
    if (result.cache === 'hit' && !request.allowCache)
      throw new PreflightError(
        `a picture that was never sent before was answered from a cache (${HEADERS.cache}: hit); --allow-cache measures the cache on purpose`,
        3,
      );
    took.push(performance.now() - began);
  }
  // The first picture pays for connections and cold code.
  const warm = took.slice(1);
  return { styles, pictureMs: warm.reduce((sum, ms) => sum + ms, 0) / Math.max(1, warm.length) };
}

async function stylesOf(target: Target, wanted: PreflightRequest['styles']): Promise<string[]> {
  if (wanted !== 'all' && wanted !== 'default') return [...wanted];
  const result = await target.get(PATHS.styles, 'application/json');
  if (!('bytes' in result)) throw unreachable(target.url, result);
  if (wanted === 'default') return [];
  const list = result.status === 200 ? styleListSchema.safeParse(json(result.body)) : undefined;
  if (!list?.success)
    throw new PreflightError(
      `GET ${PATHS.styles} was answered ${result.status} and no list of styles: is ${target.url.origin} a toonfleet? (--styles NAMES does without the list)`,
      4,
    );
  return list.data.styles.map(({ id }) => id);
}

function unreachable(url: URL, { reason, detail }: NoAnswer): PreflightError {
  const words: Record<NoAnswer['reason'], string> = {
    refused: `nothing listens at ${url.origin}; is toonfleet running there? (toonfleet start)`,
    reset: `${url.origin} closed the connection without an answer`,
    timeout: `${url.origin} did not answer in time`,
    dns: `the name ${url.hostname} cannot be resolved`,
    tls: `TLS with ${url.origin} failed; --ca FILE trusts an authority, --insecure takes any certificate`,
    network: `${url.origin} cannot be reached`,
  };
  return new PreflightError(`${words[reason]} (${detail})`, 4);
}

function firstWords(body: Buffer | undefined): string {
  const text = (body ?? Buffer.alloc(0)).toString('utf8', 0, 300).replace(/\s+/g, ' ').trim();
  return text === '' ? '' : `It said: ${text}`;
}

function json(body: Buffer | undefined): unknown {
  try {
    return JSON.parse(body?.toString('utf8') ?? '');
  } catch {
    return undefined;
  }
}
