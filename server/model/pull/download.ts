// Brings one file here, whole or not at all: beside its place first, resumed after a cut where the server still has the
// same file, checked by size and SHA-256, and renamed only then. Knows no models.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open as openFile, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { ModelFault } from '../entries/fault.ts';
import { open, type Reach } from './source.ts';

/** What is to be brought. */
export interface Order {
  /** The same file, in the order in which the places are tried. */
  readonly urls: readonly string[];
  readonly to: string;
  readonly mostBytes: number;
  /** Undefined when nobody knows it yet. */
  readonly sha256: string | undefined;
  readonly reach: Reach;
  /** Between two attempts at one place, ms. */
  readonly pauseMs: number;
  /** Hears how far it is; `total` is undefined where the server does not say. */
  readonly progress: (bytes: number, total: number | undefined) => void;
  /** Hears why a place was given up, and of cuts. */
  readonly say: (sentence: string) => void;
}

/** Cuts in a row without one new byte, before a place is given up. */
const MOST_VAIN_ATTEMPTS = 3;
const MOST_ATTEMPTS = 50;

/**
 * Brings the file and gives its SHA-256.
 * @throws {ModelFault} that names every place and what was wrong there.
 */
export async function download(order: Order): Promise<string> {
  const faults: string[] = [];
  for (const url of order.urls) {
    try {
      return await fromOnePlace(url, order);
    } catch (error) {
      const why = wordsOf(error, order);
      faults.push(`${url}: ${why}`);
      if (isDiskFault(error)) break;
      order.say(`${url}: ${why}`);
    }
  }
  throw new ModelFault(faults.join('; '));
}

async function fromOnePlace(url: string, order: Order): Promise<string> {
  let vain = 0;
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    const before = await sizeOf(partOf(order));
    try {
      await attemptOnce(url, order);
      return await finish(order);
    } catch (error) {
      if (error instanceof ModelFault || isDiskFault(error)) throw error;
      vain = (await sizeOf(partOf(order))) > before ? 0 : vain + 1;
      if (vain >= MOST_VAIN_ATTEMPTS) throw error;
      order.say(`${wordsOf(error, order)}; going on where it stopped`);
      await wait(order.pauseMs);
    }
  }
  throw new ModelFault(`the connection was cut ${MOST_ATTEMPTS} times`);
}

const noteSchema = z.object({ url: z.string(), validator: z.string() });

/** One request: the rest of the file when it is still the same, else the file from its beginning. */
async function attemptOnce(url: string, order: Order): Promise<void> {
  const have = await sizeOf(partOf(order));
  const note = have > 0 ? await readNote(order) : undefined;
  const resumable = note?.url === url ? note : undefined;
  const headers: Record<string, string> = resumable
    ? { range: `bytes=${have}-`, 'if-range': resumable.validator, 'accept-encoding': 'identity' }
    : { 'accept-encoding': 'identity' };
  const answer = await open(url, headers, order.reach);
  const { statusCode = 0 } = answer;
  if (statusCode === 416) {
    answer.resume();
    await forget(order);
    throw new Error('the server does not have the rest that was asked for');
  }
  if (statusCode >= 500) {
    answer.resume();
    throw new Error(`it answers ${statusCode}`);
  }
  if (statusCode !== 200 && statusCode !== 206) {
    answer.resume();
    throw new ModelFault(`it answers ${statusCode}`);
  }
  const from = statusCode === 206 ? have : 0;
  if (statusCode === 206 && !rangeBegins(answer, have)) {
    answer.destroy();
    await forget(order);
    throw new Error('it sends another part than was asked for');
  }
  const total = totalOf(answer, from);
  if (total !== undefined && total > order.mostBytes) {
    answer.destroy();
    throw new ModelFault(`it is ${total} bytes large; allowed are ${order.mostBytes}`);
  }
  await writeNote(order, url, answer);
  const file = await openFile(partOf(order), from > 0 ? 'a' : 'w');
  try {
    await receive(answer, file, { from, total, order });
    await file.sync();
  } finally {
    await file.close();
  }
}

async function receive(
  answer: IncomingMessage,
  file: FileHandle,
  { from, total, order }: { from: number; total: number | undefined; order: Order },
): Promise<void> {
  let bytes = from;
  order.progress(bytes, total);
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > order.mostBytes) throw new ModelFault(`it is larger than ${order.mostBytes} bytes`);
    await file.write(chunk);
    order.progress(bytes, total);
  }
  if (!answer.complete || (total !== undefined && bytes < total)) throw new Error('the connection was cut');
}

async function finish(order: Order): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(partOf(order)) as AsyncIterable<Buffer>) hash.update(chunk);
  const sha256 = hash.digest('hex');
  if (order.sha256 !== undefined && sha256 !== order.sha256) {
    await forget(order);
    throw new ModelFault(`its SHA-256 is ${sha256}, not ${order.sha256}; what came was thrown away`);
  }
  await rename(partOf(order), order.to);
  await rm(noteOf(order), { force: true });
  return sha256;
}

function rangeBegins(answer: IncomingMessage, at: number): boolean {
  return answer.headers['content-range']?.startsWith(`bytes ${at}-`) ?? false;
}

function totalOf(answer: IncomingMessage, from: number): number | undefined {
  const length = answer.headers['content-length'];
  return length !== undefined && /^\d+$/.test(length) ? from + Number(length) : undefined;
}

// ---- what is here already ----

const partOf = ({ to }: Order) => `${to}.part`;
const noteOf = ({ to }: Order) => `${to}.part.json`;

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Only a strong validator says that the rest belongs to what is here (RFC 9110, 13.1.5). */
async function writeNote(order: Order, url: string, { headers }: IncomingMessage): Promise<void> {
  const { etag, 'last-modified': changed } = headers;
  const validator = etag !== undefined && !etag.startsWith('W/') ? etag : changed;
  if (validator === undefined) await rm(noteOf(order), { force: true });
  else await writeFile(noteOf(order), JSON.stringify({ url, validator }));
}

async function readNote(order: Order): Promise<z.infer<typeof noteSchema> | undefined> {
  const text = await readFile(noteOf(order), 'utf8').catch(() => undefined);
  try {
    return text === undefined ? undefined : noteSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function forget(order: Order): Promise<void> {
  await rm(partOf(order), { force: true });
  await rm(noteOf(order), { force: true });
}

// ---- words ----

function isDiskFault(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code !== undefined && ['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EFBIG'].includes(code);
}

function wordsOf(error: unknown, order: Order): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof ModelFault) return message;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return `the disk of ${order.to} is full; what came stays, and the next pull goes on from there`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name cannot be found; is there a network, or does it need models.proxy or models.mirrors?';
    case 'ECONNREFUSED':
      return 'nobody listens there';
    case 'ECONNRESET':
    case 'ECONNABORTED':
      return 'the connection was cut';
    default:
      return message;
  }
}
