// Whether somebody has asked this node to take no new pictures. Kept in a file of its own beside the agent's memory, so
// that neither a restart of the agent nor one of the whole VM puts a node back to work before it is told to.

import { z } from 'zod';
import { readDurable, writeDurable } from '../process/durable-file.ts';

const drainFileSchema = z.object({
  draining: z.boolean(),
  /** When it was last asked for, for people who read the file. */
  since: z.iso.datetime(),
});

/** The wish as it is kept. */
export class Drain {
  readonly #path: string;
  #draining: boolean;

  /** @throws {Error} when the file is there and broken. */
  constructor(path: string) {
    this.#path = path;
    this.#draining = readDurable(path, drainFileSchema, "this node's drain")?.draining ?? false;
  }

  get wanted(): boolean {
    return this.#draining;
  }

  /** Keeps the wish. It holds only when this returns. */
  want(draining: boolean, at: Date): void {
    if (draining === this.#draining) return;
    writeDurable(this.#path, { draining, since: at.toISOString() });
    this.#draining = draining;
  }
}
