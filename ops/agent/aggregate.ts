// Sums the series of a node's workers. What a worker had counted stays counted after its death, so a restart never
// makes a counter fall. Pure: it is given snapshots in prom-client's JSON and asks nobody for them.

import { z } from 'zod';

const seriesSchema = z.object({
  name: z.string(),
  help: z.string(),
  type: z.enum(['counter', 'gauge', 'histogram', 'summary']),
  aggregator: z.enum(['sum', 'max', 'min', 'average', 'first', 'omit']).default('sum'),
  values: z.array(
    z.object({
      value: z.number(),
      labels: z.record(z.string(), z.union([z.string(), z.number()])),
      /** Histograms: `NAME_bucket`, `NAME_sum` or `NAME_count`. */
      metricName: z.string().optional(),
    }),
  ),
});

/** One metric of one worker with all its values. */
export type Series = z.infer<typeof seriesSchema>;
/** What one worker had counted at one moment: `registry.getMetricsAsJSON()`. */
export const snapshotSchema = z.array(seriesSchema);
export type Snapshot = z.infer<typeof snapshotSchema>;

type Value = Series['values'][number];

/**
 * How long a dead worker's last snapshot is kept apart. One that was only thought dead, and speaks again within that
 * time, then replaces its own snapshot and is not counted twice.
 */
const APART_MS = 3_600_000;

interface Source {
  snapshot: Snapshot;
  diedAt: number | undefined;
}

/** The counters of one node. A source is one life of one worker: its id and pid. */
export class Tally {
  readonly #sources = new Map<string, Source>();
  /** The sum of all that died long ago. */
  #buried: Snapshot;

  constructor(buried: Snapshot = []) {
    this.#buried = buried;
  }

  /** Takes the newest snapshot of a worker. */
  take(source: string, snapshot: Snapshot): void {
    this.#sources.set(source, { snapshot, diedAt: undefined });
  }

  /** A worker is gone: its counters stay, its gauges go. */
  bury(source: string, now: number): void {
    const known = this.#sources.get(source);
    if (known) known.diedAt ??= now;
    for (const [name, { diedAt, snapshot }] of this.#sources) {
      if (diedAt === undefined || now - diedAt <= APART_MS) continue;
      this.#buried = addUp([this.#buried, countersOf(snapshot)]);
      this.#sources.delete(name);
    }
  }

  /** All counters of the dead; what another life of the agent needs in order to go on counting. */
  dead(): Snapshot {
    const dead = [...this.#sources.values()].filter(({ diedAt }) => diedAt !== undefined);
    return addUp([this.#buried, ...dead.map(({ snapshot }) => countersOf(snapshot))]);
  }

  /** The node's sum: counters of the living and the dead, gauges of the living. */
  sum(): Snapshot {
    const sources = [...this.#sources.values()].map(({ snapshot, diedAt }) =>
      diedAt === undefined ? snapshot : countersOf(snapshot),
    );
    return addUp([this.#buried, ...sources]);
  }
}

function countersOf(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ type }) => type === 'counter' || type === 'histogram');
}

function addUp(snapshots: readonly Snapshot[]): Snapshot {
  const byName = new Map<string, Series[]>();
  for (const series of snapshots.flat())
    byName.set(series.name, [...(byName.get(series.name) ?? []), series]);
  return [...byName.values()].flatMap((all) => {
    const first = all[0];
    return first ? [{ ...first, values: merge(all, first.aggregator) }] : [];
  });
}

function merge(all: readonly Series[], aggregator: Series['aggregator']): Value[] {
  if (aggregator === 'omit') return [];
  const byLabels = new Map<string, Value[]>();
  for (const value of all.flatMap(({ values }) => values)) {
    const key = seatOf(value);
    const seat = byLabels.get(key);
    if (seat) seat.push(value);
    else byLabels.set(key, [value]);
  }
  return [...byLabels.values()].flatMap((values) => {
    const first = values[0];
    return first
      ? [
          {
            ...first,
            value: combine(
              values.map(({ value }) => value),
              aggregator,
            ),
          },
        ]
      : [];
  });
}

/** Name and labels as one text, whatever order the labels stand in. */
function seatOf({ metricName, labels }: Value): string {
  return JSON.stringify([metricName, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))]);
}

function combine(values: readonly number[], aggregator: Exclude<Series['aggregator'], 'omit'>): number {
  const total = values.reduce((sum, value) => sum + value, 0);
  switch (aggregator) {
    case 'sum':
      return total;
    case 'average':
      return total / values.length;
    case 'max':
      return Math.max(...values);
    case 'min':
      return Math.min(...values);
    case 'first':
      return values[0] ?? 0;
  }
}

/** The total of a counter, or of one part of a histogram (`NAME_sum`, `NAME_count`), over the labels that fit. */
export function totalOf(
  snapshot: Snapshot,
  name: string,
  fits: (labels: Value['labels']) => boolean = () => true,
): number {
  const base = name.replace(/_(sum|count)$/, '');
  return snapshot
    .filter((series) => series.name === name || (series.name === base && series.type === 'histogram'))
    .flatMap((series) => series.values.filter((value) => (value.metricName ?? series.name) === name))
    .filter(({ labels }) => fits(labels))
    .reduce((sum, { value }) => sum + value, 0);
}
