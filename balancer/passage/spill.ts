// Uploads on disk, for when the memory for uploads is full. The only file of the balancer that touches upload files.
//
// A file loses its name as soon as it is open: nobody else can read it, and the kernel takes it away when it is closed,
// also after a kill. What a crash leaves between these two moments is taken away at the next start.

import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ToonError } from '../../config/errors.ts';
import type { BufferBudget } from './budget.ts';

const SUFFIX = '.upload';
/** So much may wait to be written before the client is asked to pause. */
const PENDING_BYTES = 1024 * 1024;

/** The folder of uploads on disk, and the bound of all bytes in it. */
export class SpillFolder {
  readonly budget: BufferBudget;
  readonly #dir: string;

  constructor(dir: string, budget: BufferBudget) {
    this.#dir = dir;
    this.budget = budget;
  }

  /** Takes away what a crash has left. Other balancers may use the same folder: a file that is open stays readable. */
  async clean(): Promise<void> {
    const names = await readdir(this.#dir).catch(() => []);
    for (const name of names) if (name.endsWith(SUFFIX)) await rm(join(this.#dir, name), { force: true });
  }

  /** A new file. Its faults come out of `write`'s callbacks and of `whole`. */
  create(events: SpillEvents): SpillFile {
    return new SpillFile(this.#open(), events);
  }

  async #open(): Promise<FileHandle> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const path = join(this.#dir, randomUUID() + SUFFIX);
    const handle = await open(path, 'wx+', 0o600);
    await unlink(path).catch(() => {});
    return handle;
  }
}

export interface SpillEvents {
  /** What waited is written: the client may go on. */
  drained(): void;
  /** It cannot be written; nothing more will come. */
  failed(error: ToonError): void;
}

/** One upload on disk: written once from front to end, then read as often as it is needed. */
export class SpillFile {
  readonly #handle: Promise<FileHandle>;
  readonly #events: SpillEvents;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #bytes = 0;
  #pump: Promise<void> | undefined;
  #failure: ToonError | undefined;

  constructor(handle: Promise<FileHandle>, events: SpillEvents) {
    this.#handle = handle;
    this.#events = events;
  }

  /** Appends bytes; false asks for a pause until `drained`. */
  write(chunk: Buffer): boolean {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    this.#bytes += chunk.length;
    this.#pump ??= this.#write();
    return this.#pendingBytes < PENDING_BYTES;
  }

  async #write(): Promise<void> {
    try {
      const handle = await this.#handle;
      while (this.#pending.length > 0) {
        const chunks = this.#pending;
        this.#pending = [];
        // From where the last one ended, and to its end: a short write is continued.
        for (const chunk of chunks) {
          await handle.writeFile(chunk);
          this.#pendingBytes -= chunk.length;
        }
      }
      this.#pump = undefined;
      this.#events.drained();
    } catch (error) {
      this.#failure = faultOf(error);
      this.#events.failed(this.#failure);
    }
  }

  /**
   * Waits until all that was written is on disk.
   * @throws {ToonError} `storage_full` or `internal_error`.
   */
  async whole(): Promise<void> {
    await this.#handle.catch(() => {});
    while (this.#pump && !this.#failure) await this.#pump;
    if (this.#failure) throw this.#failure;
  }

  /**
   * All bytes, read anew.
   * @throws {ToonError} `internal_error` when the disk does not give them back.
   */
  async read(): Promise<Buffer> {
    try {
      const handle = await this.#handle;
      const buffer = Buffer.allocUnsafeSlow(this.#bytes);
      for (let at = 0; at < buffer.length; ) {
        const { bytesRead } = await handle.read(buffer, at, buffer.length - at, at);
        if (bytesRead === 0) throw new Error(`an upload of ${buffer.length} bytes ends at ${at}`);
        at += bytesRead;
      }
      return buffer;
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** Gives the disk back. */
  async close(): Promise<void> {
    const handle = await this.#handle.catch(() => undefined);
    await handle?.close().catch(() => {});
  }
}

function faultOf(error: unknown): ToonError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new ToonError('storage_full', { detail: 'There is no room for this upload.' }, { cause: error })
    : new ToonError('internal_error', {}, { cause: error });
}
