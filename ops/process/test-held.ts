// For tests: what this process holds of the system (descriptors, sockets, timers and whatever else keeps it alive), so that
// a test sees that something has given back all it took.

import { readdirSync } from 'node:fs';
import { until } from './trial.ts';

/** How many of each kind. */
export type Held = Readonly<Record<string, number>>;

const WITHIN_MS = 10_000;

/** What is held now. */
export function held(): Held {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  // One more is open while they are counted, each time.
  const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
  return { ...counts, descriptors };
}

/** Waits until no more is held of any kind than was before; says of what there is more when that does not come. */
export async function untilGivenBack(before: Held): Promise<void> {
  const more = () => Object.entries(held()).filter(([kind, count]) => count > (before[kind] ?? 0));
  await until(
    () => more().length === 0,
    WITHIN_MS,
    () =>
      `more than before: ${more().map(([kind, count]) => `${kind} ${count} instead of ${before[kind] ?? 0}`)}`,
  );
}
