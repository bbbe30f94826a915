// Keeps drawn pictures for those who come back for them. The interface; fs.ts keeps them in a folder.

import type { Readable } from 'node:stream';
import type { PictureKind } from '../../config/picture.ts';

/** A kept result. */
export interface StoredResult {
  readonly id: string;
  readonly kind: PictureKind;
  readonly bytes: number;
  readonly storedAt: Date;
  /** Its bytes from `start` to `end`, both counted in. */
  open(start: number, end: number): Readable;
}

/** A place for results. */
export interface ResultStore {
  /**
   * Keeps a picture and gives it an id that cannot be guessed.
   * @throws {ToonError} `storage_full` when there is no room.
   */
  put(bytes: Uint8Array, kind: PictureKind): Promise<string>;
  /** A result by its id; undefined when it was never here or is too old. */
  get(id: string): Promise<StoredResult | undefined>;
  /** Deletes what is too old, and counts what is left. */
  purge(): Promise<void>;
}
