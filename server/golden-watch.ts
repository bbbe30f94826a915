// Proves a model by its golden picture now and then while the worker is idle, and takes the worker out of service when
// one goes wrong. Never on a busy slot.

import type { Log } from '../ops/process/log.ts';
import { ModelFault } from './model/entries/fault.ts';
import type { Library } from './model/library.ts';
import type { Readiness } from './readiness.ts';
import type { Slot } from './slot.ts';

/** How often one model is proven. */
const EVERY_MS = 60_000;
/** The slot must have been free for this long. */
const IDLE_MS = 10_000;

/** Starts to watch; the result stops it. */
export function watchGolden(parts: {
  readonly library: Library;
  readonly readiness: Readiness;
  readonly slot: Slot;
  readonly log: Log;
}): () => void {
  const timer = setInterval(() => void proveWhenIdle(parts), EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** One round: proves the next model if the slot has been free for long enough. */
export async function proveWhenIdle(
  { library, readiness, slot, log }: { library: Library; readiness: Readiness; slot: Slot; log: Log },
  idleMs: number = IDLE_MS,
): Promise<void> {
  if (slot.idleMs < idleMs) return;
  const release = slot.tryClaim();
  if (!release) return;
  try {
    await library.proveNext();
    readiness.happened({ kind: 'proven' });
  } catch (error) {
    const detail = error instanceof ModelFault ? error.message : 'a golden picture could not be drawn';
    log.error({ error }, detail);
    readiness.happened({ kind: 'fault', detail });
  } finally {
    release();
  }
}
