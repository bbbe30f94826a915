// Whether a canary has to go: by its error rate or its time for a picture, beside the base that runs in the same
// minutes. Pure. Times are ratios to what such a picture usually takes, so that a canary whose clients send larger
// pictures is not blamed for them.

/** What was seen of one release. */
export interface Seen {
  /** Attempts that ended, well or not. */
  readonly attempts: number;
  readonly faults: number;
  /** Of those that ended well: their time over the expected one. */
  readonly paces: readonly number[];
}

export interface RollbackLimits {
  /** So much more of the canary's attempts may fail than of the base's, 0 to 1. */
  readonly maxErrorRatio: number;
  /** The canary's median pace may be so many times the base's. */
  readonly maxLatencyRatio: number;
  /** Nothing is concluded from fewer attempts, except that there are too many faults whatever may follow. */
  readonly minRequests: number;
}

export type RollbackVerdict =
  | { readonly kind: 'too_early' }
  | { readonly kind: 'good' }
  | { readonly kind: 'roll_back'; readonly reason: 'errors' | 'latency'; readonly sentence: string };

/** Judges a canary beside its base. */
export function judgeCanary(canary: Seen, base: Seen, limits: RollbackLimits): RollbackVerdict {
  const { maxErrorRatio, maxLatencyRatio, minRequests } = limits;
  const allowed = ratio(base.faults, base.attempts) + maxErrorRatio;
  // Until enough have come, those that are missing count as good: then even the best that can follow is not enough.
  if (canary.faults / Math.max(canary.attempts, minRequests) > allowed)
    return {
      kind: 'roll_back',
      reason: 'errors',
      sentence: `${canary.faults} of ${canary.attempts} attempts failed (base: ${base.faults} of ${base.attempts}); allowed were ${percent(allowed)}.`,
    };
  if (canary.attempts < minRequests) return { kind: 'too_early' };
  if (canary.paces.length >= minRequests && base.paces.length >= minRequests) {
    const [own, others] = [median(canary.paces), median(base.paces)];
    if (own > others * maxLatencyRatio)
      return {
        kind: 'roll_back',
        reason: 'latency',
        sentence: `Half of its pictures take more than ${(own / others).toFixed(2)} times as long as the base's; allowed was ${maxLatencyRatio}.`,
      };
  }
  return { kind: 'good' };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

const ratio = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
const percent = (value: number) => `${Math.round(value * 1000) / 10} %`;
