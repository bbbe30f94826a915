// Reads one whole upload: within its size, at no less than the least rate, in time, and within the memory for all; where
// that is full, onto disk. No slot is held meanwhile. Knows nothing of what the bytes mean; `form.ts` does.

import type { IncomingMessage } from 'node:http';
import { ToonError } from '../../config/errors.ts';
import { formatDuration, formatSize } from '../../config/units.ts';
import type { BufferBudget } from './budget.ts';
import type { SpillFile, SpillFolder } from './spill.ts';

export interface UploadLimits {
  readonly maxBytes: number;
  /** How long the whole upload may take. */
  readonly timeoutMs: number;
  /** Bytes a second over the last {@link RATE_WINDOW_S} seconds. */
  readonly minRate: number;
}

/** A whole body, in memory or on disk. */
export interface Body {
  readonly length: number;
  /** Whether each `read` takes memory of its own, since nothing is kept. */
  readonly spilled: boolean;
  /**
   * The same bytes, as often as they are asked for.
   * @throws {ToonError} `internal_error` when the disk does not give them back.
   */
  read(): Promise<Buffer>;
}

/** An upload under way. */
export interface Upload {
  /** The whole body; rejects with `upload_too_large`, `upload_too_slow`, `overloaded`, `storage_full` or `client_gone`. */
  readonly body: Promise<Body>;
  /** The client is gone. */
  cancel(): void;
  /** Gives memory and disk back; to be called once nobody needs the body any more, after a failure too. */
  release(): void;
}

const RATE_WINDOW_S = 5;
/** Chunked uploads reserve memory in steps of this. */
const STEP_BYTES = 256 * 1024;

/**
 * Reads an upload.
 * @throws {ToonError} at once: `upload_too_large` by its Content-Length, `overloaded` when memory and disk are full.
 */
export function readUpload(
  request: IncomingMessage,
  contentLength: number | undefined,
  limits: UploadLimits,
  budget: BufferBudget,
  folder: SpillFolder,
): Upload {
  if ((contentLength ?? 0) > limits.maxBytes) throw tooLarge(limits);
  let fail: (error: ToonError) => void = () => {};
  const store = new Store(contentLength, budget, folder, {
    drained: () => request.resume(),
    failed: (error) => fail(error),
  });

  const body = new Promise<Body>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timeout);
      clearInterval(pulse);
      request.off('data', onData);
      request.off('end', onEnd);
      request.off('error', onGone);
      request.off('close', onGone);
    };
    fail = (error) => {
      stop();
      // What was paused for the disk must run on: a refusal is sent while the rest is thrown away.
      request.resume();
      reject(error);
    };
    const onGone = () => fail(new ToonError('client_gone'));
    const onData = (chunk: Buffer) => {
      if (store.bytes + chunk.length > limits.maxBytes) return fail(tooLarge(limits));
      switch (store.add(chunk)) {
        case 'taken':
          return;
        case 'pause':
          request.pause();
          return;
        case 'full':
          fail(noRoom());
      }
    };
    const onEnd = () => {
      stop();
      store.end().then(resolve, reject);
    };
    const timeout = setTimeout(() => fail(overdue(limits)), Math.max(1, limits.timeoutMs));
    const enough = rateWatch(limits.minRate);
    const pulse = setInterval(() => {
      // While the disk is slow the client is not to blame.
      if (!request.isPaused() && !enough(store.bytes)) fail(tooSlow(limits));
    }, 1000);

    request.on('data', onData);
    request.on('end', onEnd);
    request.on('error', onGone);
    request.on('close', onGone);
  });
  return { body, cancel: () => fail(new ToonError('client_gone')), release: () => store.release() };
}

/** Where the bytes of one upload go: memory that was reserved, else a file. */
class Store {
  bytes = 0;
  readonly #contentLength: number | undefined;
  readonly #budget: BufferBudget;
  readonly #folder: SpillFolder;
  readonly #events: ConstructorParameters<typeof SpillFile>[1];
  #inMemory = 0;
  #onDisk = 0;
  #chunks: Buffer[] = [];
  /** Of the announced length, from the second chunk on: each byte is copied once. */
  #whole: Buffer | undefined;
  #file: SpillFile | undefined;

  /** @throws {ToonError} `overloaded` when an announced length fits nowhere. */
  constructor(
    contentLength: number | undefined,
    budget: BufferBudget,
    folder: SpillFolder,
    events: ConstructorParameters<typeof SpillFile>[1],
  ) {
    this.#contentLength = contentLength;
    this.#budget = budget;
    this.#folder = folder;
    this.#events = events;
    if (!this.#reserve(contentLength ?? 0)) throw noRoom();
  }

  /** Takes a chunk in; `full` when there is no room for it any more. */
  add(chunk: Buffer): 'taken' | 'pause' | 'full' {
    const bytes = this.bytes + chunk.length;
    const reserved = this.#file ? this.#onDisk : this.#inMemory;
    if (bytes > reserved && !this.#reserve(Math.max(STEP_BYTES, bytes - reserved))) return 'full';
    const at = this.bytes;
    this.bytes = bytes;
    if (this.#file) return this.#file.write(chunk) ? 'taken' : 'pause';
    const first = this.#chunks[0];
    if (this.#contentLength === undefined || first === undefined) {
      this.#chunks.push(chunk);
      return 'taken';
    }
    if (!this.#whole) {
      this.#whole = Buffer.allocUnsafeSlow(this.#contentLength);
      first.copy(this.#whole);
    }
    chunk.copy(this.#whole, at);
    return 'taken';
  }

  /** All bytes have come. */
  async end(): Promise<Body> {
    const file = this.#file;
    if (file) {
      await file.whole();
      return { length: this.bytes, spilled: true, read: () => file.read() };
    }
    const [only] = this.#chunks;
    const held =
      this.#whole ?? (this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks, this.bytes));
    this.#chunks = [];
    return { length: held.length, spilled: false, read: () => Promise.resolve(held) };
  }

  release(): void {
    this.#budget.give(this.#inMemory);
    this.#inMemory = 0;
    this.#chunks = [];
    this.#whole = undefined;
    const { budget } = this.#folder;
    const onDisk = this.#onDisk;
    this.#onDisk = 0;
    if (this.#file) void this.#file.close().then(() => budget.give(onDisk));
    else budget.give(onDisk);
  }

  /** So many bytes more, in memory while that has room; else all of it moves onto disk. */
  #reserve(bytes: number): boolean {
    if (!this.#file && this.#budget.take(bytes)) {
      this.#inMemory += bytes;
      return true;
    }
    const needed = this.#file ? bytes : this.bytes + bytes;
    if (!this.#folder.budget.take(needed)) return false;
    this.#onDisk += needed;
    if (this.#file) return true;
    this.#file = this.#folder.create(this.#events);
    for (const chunk of this.#chunks) this.#file.write(chunk);

    this.#chunks = [];
    this.#budget.give(this.#inMemory);
    this.#inMemory = 0;
    return true;
  }
}

/** Whether at least so many bytes a second came over each window; asked once a second. The first starts at zero bytes. */
function rateWatch(minRate: number): (bytes: number) => boolean {
  const marks = [0];
  return (bytes) => {
    marks.push(bytes);
    if (marks.length <= RATE_WINDOW_S) return true;
    return bytes - (marks.shift() ?? 0) >= minRate * RATE_WINDOW_S;
  };
}

const tooLarge = ({ maxBytes }: UploadLimits) =>
  new ToonError('upload_too_large', { detail: `At most ${formatSize(maxBytes)} may be sent here.` });

const noRoom = () =>
  new ToonError(
    'overloaded',
    { detail: 'Too many uploads are in passing at the moment.', retryAfterMs: 1000 },
    { cause: 'memory' },
  );

const overdue = ({ timeoutMs }: UploadLimits) =>
  new ToonError('upload_too_slow', {
    detail: `The upload was not whole after ${formatDuration(Math.round(timeoutMs))}.`,
  });

const tooSlow = ({ minRate }: UploadLimits) =>
  new ToonError('upload_too_slow', {
    detail: `Less than ${formatSize(minRate)} a second came over ${RATE_WINDOW_S} s.`,
  });
