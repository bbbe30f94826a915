// Whether a worker's memory stays flat: a straight line through the last two thirds of its curve. Pure.

/** One look at a worker's memory. */
export interface Sample {
  readonly pictures: number;
  readonly bytes: number;
}

/** What the line says. */
export interface Flatness {
  /** Bytes that each thousand pictures add; below 0 it shrinks. */
  readonly bytesPerThousand: number;
  /** What the line adds over the last two thirds, bytes. */
  readonly growthBytes: number;
  /** The mean over the same part, bytes. */
  readonly meanBytes: number;
  readonly flat: boolean;
}

/** The first part is warm-up: caches fill, and the allocator finds its size. */
const WARM_UP = 1 / 3;
/** A line that adds more than this part of the mean over what was drawn is not flat. */
const FLAT = 0.05;
/** Fewer looks say nothing. */
const LEAST_SAMPLES = 6;

/** Judges a curve whose samples are in order; undefined when it has too few of them. */
export function flatness(curve: readonly Sample[]): Flatness | undefined {
  const last = curve.at(-1)?.pictures ?? 0;
  const part = curve.filter(({ pictures }) => pictures >= last * WARM_UP);
  if (part.length < LEAST_SAMPLES) return undefined;
  const mean = (of: (sample: Sample) => number) =>
    part.reduce((sum, each) => sum + of(each), 0) / part.length;
  const [x, y] = [mean(({ pictures }) => pictures), mean(({ bytes }) => bytes)];
  const spread = part.reduce((sum, { pictures }) => sum + (pictures - x) ** 2, 0);
  if (spread === 0) return undefined;
  const slope = part.reduce((sum, { pictures, bytes }) => sum + (pictures - x) * (bytes - y), 0) / spread;
  const growthBytes = slope * (last - (part[0]?.pictures ?? 0));
  return { bytesPerThousand: slope * 1000, growthBytes, meanBytes: y, flat: growthBytes <= FLAT * y };
}
