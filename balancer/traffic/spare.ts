// Whether a fleet would still be enough with a part of it gone: its largest zone, or the largest node of each zone (N+1).
// Pure: judges plain numbers.

import type { Spare } from '../../config/admin.ts';

/** A node as this judgement needs it. */
export interface NodeSlots {
  readonly zone: string;
  /** Slots that take pictures now. */
  readonly slots: number;
}

/** Judges the slots in service against those that are needed: `busy` on average, and `queued` pictures that have none. */
export function spareOf(nodes: readonly NodeSlots[], busy: number, queued: number): Spare {
  const zones = new Map<string, { nodes: number; slots: number; largest: number }>();
  for (const { zone, slots } of nodes) {
    if (slots === 0) continue;
    const row = zones.get(zone) ?? { nodes: 0, slots: 0, largest: 0 };
    zones.set(zone, {
      nodes: row.nodes + 1,
      slots: row.slots + slots,
      largest: Math.max(row.largest, slots),
    });
  }
  const rows = [...zones].map(([zone, row]) => ({ zone, ...row }));
  const all = rows.reduce((sum, { slots }) => sum + slots, 0);
  const largest = rows.reduce<(typeof rows)[number] | undefined>(
    (most, row) => (most === undefined || row.slots > most.slots ? row : most),
    undefined,
  );
  // Slots are whole, and whoever waits has none.
  const needed = Math.ceil(busy + queued - 1e-9);
  const left = (gone: number) => ({ slots: all - gone, enough: all - gone >= Math.max(1, needed) });
  return {
    slots: all,
    needed,
    zones: rows.map(({ zone, nodes: count, slots }) => ({ zone, nodes: count, slots })),
    without_largest_zone: { zone: largest?.zone ?? null, ...left(largest?.slots ?? 0) },
    without_a_node_of_each_zone: left(rows.reduce((sum, row) => sum + row.largest, 0)),
  };
}
