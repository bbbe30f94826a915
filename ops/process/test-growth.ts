// For tests: whether work grows in proportion to its input or faster, and how it compares with other work. Compares two
// times that the same machine took at the same moment, and never holds one against a clock: a slow machine is no fault.

/** Whatever is done faster than this at its full size is not worth a comparison: no such size squared is done in it. */
const NEGLIGIBLE_MS = 5;
const TIMES = 16;
/**
 * 16 times the input is 16 times the work, or a few times that with what caches, rehashing and collected garbage add; 256
 * times when each byte meets each.
 */
const MOST = 100;
const ROUNDS = 10;
/** Shorter times are not told apart. */
const LEAST_MS = 0.05;

/**
 * Undefined when an input takes about as much longer as it is larger than a small one, else how much longer, in words.
 * `prepare` makes the work for an input of a size; the making is not counted. The shortest of several times counts.
 */
export function excessiveGrowth(prepare: (size: number) => () => unknown, size: number): string | undefined {
  const whole = stopwatch(prepare(size));
  for (let each = 0; each < ROUNDS; each++) if (whole() < NEGLIGIBLE_MS) return undefined;
  const part = stopwatch(prepare(Math.floor(size / TIMES)));
  let ratio = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    for (let each = 0; each < TIMES; each++) part();
    ratio = whole() / Math.max(part(), LEAST_MS);
    if (ratio < MOST) return undefined;
  }
  return `${TIMES} times the input takes ${Math.round(ratio)} times as long`;
}

/** How many times as long as the other work the first one takes; the shortest of several times of each. */
export function timesAsLong(one: () => unknown, other: () => unknown): number {
  const [first, second] = [stopwatch(one), stopwatch(other)];
  let ratio = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) ratio = first() / Math.max(second(), LEAST_MS);
  return ratio;
}

/**
 * Does the work when called, and gives back the shortest time so far, ms; a refusal is work too. The processor's time, not
 * the wall's: who waits for a busy machine has done nothing.
 */
function stopwatch(work: () => unknown): () => number {
  let shortest = Number.POSITIVE_INFINITY;
  return () => {
    const from = process.cpuUsage();
    try {
      work();
    } catch {
      // What it says is another test's business.
    }
    const { user, system } = process.cpuUsage(from);
    shortest = Math.min(shortest, (user + system) / 1000);
    return shortest;
  };
}
