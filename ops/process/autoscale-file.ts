// What `toonfleet autoscale` remembers between its looks, as it stands in data_dir of the box that it runs on: it writes the
// file, and the balancer there tells Prometheus what is in it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { hostAndPort } from '../../config/reachable.ts';

export const autoscaleFileSchema = z.object({
  parked: z.array(
    z.object({ url: z.url(), id: z.string(), zone: z.string(), doubtfulUntil: z.number().optional() }),
  ),
  moving: z
    .object({ what: z.enum(['wake', 'park']), url: z.url(), id: z.string(), since: z.number() })
    .nullable(),
  restUntil: z.number(),
  failed: z.record(z.string(), z.number()),
  history: z.array(z.object({ at: z.number(), count: z.number() })),
});

export const autoscaleFileIn = (dataDir: string) => join(dataDir, 'autoscale.json');

/** What of it is worth a series. VMs are HOST:PORT of their agents, as Prometheus's configuration names them. */
export interface AutoscaleView {
  /** VMs that sleep, fall asleep or wake up: whoever asks them gets no answer, and need not. */
  readonly parked: readonly string[];
  /** When each VM that would not be moved was last tried, ms since 1970. */
  readonly failed: ReadonlyMap<string, number>;
  /** What the signals asked for at the last look. */
  readonly wanted: number | undefined;
  /** Ms since 1970. */
  readonly lookedAt: number | undefined;
}

/** Undefined where autoscale never ran, or left nothing that can be read; it says so itself when it starts. */
export function viewAutoscale(dataDir: string): AutoscaleView | undefined {
  let text: string;
  try {
    text = readFileSync(autoscaleFileIn(dataDir), 'utf8');
  } catch {
    return undefined;
  }
  const { data } = autoscaleFileSchema.safeParse(parsed(text));
  if (!data) return undefined;
  const moving = data.moving === null ? [] : [data.moving];
  const last = data.history.at(-1);
  return {
    parked: [...new Set([...data.parked, ...moving].map(({ url }) => hostAndPort(url)))],
    failed: new Map(Object.entries(data.failed).map(([url, at]) => [hostAndPort(url), at])),
    wanted: last?.count,
    lookedAt: last?.at,
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
