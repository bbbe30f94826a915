// Reads durations and sizes as people write them. Pure.

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const SIZE_BYTES: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1000,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
};

function readWithUnit(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  const factor = units[(match?.[2] ?? '').toLowerCase()];
  return match && factor !== undefined ? Math.round(Number(match[1]) * factor) : undefined;
}

/** `"60s"`, `"500ms"`, `"2m"`, `"24h"`, `"1d"`, or a number of ms, as ms; undefined when it is none of these. */
export function parseDuration(value: string | number): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Number(value);
  return readWithUnit(value, DURATION_MS);
}

/** `"20MiB"`, `"300kB"`, or a number of bytes, as bytes; undefined when it is none of these. */
export function parseSize(value: string | number): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value);
  return readWithUnit(value, SIZE_BYTES);
}

/** Ms as a person would write them: `60s`, `1.5s`, `250ms`, `24h`. */
export function formatDuration(ms: number): string {
  for (const [unit, factor] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return ms >= 1000 ? `${ms / 1000}s` : `${ms}ms`;
}

/** Bytes as a person would write them: `20MiB`, `64KiB`, `37B`. */
export function formatSize(bytes: number): string {
  for (const [unit, factor] of [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}
