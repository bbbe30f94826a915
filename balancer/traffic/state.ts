// What operators have told this balancer and what must outlive it: added and removed nodes, drained plain upstreams,
// traffic weights, pause. One file, written atomically and read at the start. The only file that knows its path.
//
// While a reload holds two balancers side by side, both follow the file, and each change begins from what stands in it:
// whichever of them is asked, both obey, and the new one loses nothing that the old one was told at its end.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { nodeIdSchema, nodeSpecSchema, trafficSchema } from '../../config/admin.ts';
import { ToonError } from '../../config/errors.ts';
import { readDurable, writeDurable } from '../../ops/process/durable-file.ts';
import type { Log } from '../../ops/process/log.ts';

const stateSchema = z.strictObject({
  version: z.literal(1),
  paused: z.boolean(),
  traffic: trafficSchema,
  /** Added at run time. */
  nodes: z.array(z.object({ id: nodeIdSchema, spec: nodeSpecSchema })),
  /** Origins of the settings that were taken out at run time. */
  removed: z.array(z.string()),
  /** Origins of plain upstreams that are drained; those of nodes with an agent are kept by the agent. */
  drained: z.array(z.string()),
});
export type State = z.infer<typeof stateSchema>;

/** How traffic is divided when nobody has said anything. */
export const UNDIVIDED: State['traffic'] = { weights: null, rollback: null, rolled_back: null };
const FRESH: State = { version: 1, paused: false, traffic: UNDIVIDED, nodes: [], removed: [], drained: [] };

const WHAT = "the balancer's state";

/** The state of one balancer, in memory and on disk. */
export class StateFile {
  /** Where it stands among the balancer's data. */
  static pathIn(dataDir: string): string {
    return join(dataDir, 'balancer-state.json');
  }

  readonly #path: string;
  readonly #log: Log;
  #state: State;
  #stamp: string;
  #timer: NodeJS.Timeout | undefined;
  #told: (state: State) => void = () => {};

  /** @throws {Error} when the file is there and broken. */
  static check(path: string): void {
    readDurable(path, stateSchema, WHAT);
  }

  /** @throws {Error} when the file is there and broken. */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#stamp = this.#stampNow();
    this.#state = readDurable(path, stateSchema, WHAT) ?? FRESH;
  }

  get state(): State {
    return this.#state;
  }

  /**
   * Changes the state; it holds when this returns. `told` of {@link follow} is called.
   * @throws {ToonError} `storage_full` when it cannot be kept: then nothing was changed.
   */
  change(next: (state: State) => State): void {
    let state: State;
    try {
      state = next(readDurable(this.#path, stateSchema, WHAT) ?? FRESH);
      writeDurable(this.#path, state);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ToonError(
        'storage_full',
        { detail: `This could not be kept, so nothing was changed: ${why}` },
        { cause },
      );
    }
    this.#stamp = this.#stampNow();
    this.#state = state;
    this.#told(state);
  }

  /** Calls `told` after every change, by whichever balancer of this machine it was made; looks every so many ms. */
  follow(intervalMs: number, told: (state: State) => void): void {
    this.#told = told;
    this.#timer = setInterval(() => this.#look(), intervalMs);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const stamp = this.#stampNow();
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#state = readDurable(this.#path, stateSchema, WHAT) ?? FRESH;
    } catch (error) {
      this.#log.error(
        { error },
        'the state file was changed into something unreadable; what was known stands',
      );
      return;
    }
    this.#told(this.#state);
  }

  #stampNow(): string {
    try {
      const { ino, mtimeNs, size } = statSync(this.#path, { bigint: true });
      return `${ino} ${mtimeNs} ${size}`;
    } catch {
      return 'none';
    }
  }
}
