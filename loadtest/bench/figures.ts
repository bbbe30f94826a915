// The arithmetic of benches: percentiles of pooled times, and how far repeated runs lie apart. Pure.

/** The value below which so many per cent lie (nearest rank); NaN when there are none. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

/** NaN when there are none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Half the distance between the smallest and the largest, as a share of their mean: "± 4 %" is 0.04. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / 2 / mean(values);
}

/** `± 4.1 %` of a {@link spread}. */
export const plusMinus = (share: number) => `± ${(share * 100).toFixed(1)} %`;
