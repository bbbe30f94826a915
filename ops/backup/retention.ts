// Which snapshots are kept: the newest one of each of the last days, weeks and months that have any. An outage of a month
// therefore costs no old snapshot. Pure.

/** How many days, weeks and months are kept. */
export interface Retention {
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
}

/** A snapshot and when it was made. */
export interface Dated {
  readonly id: string;
  readonly at: Date;
}

const DAY_MS = 86_400_000;

/** Names of the day, the ISO week and the month of a moment, all in UTC. */
const PERIODS: Readonly<Record<keyof Retention, (at: Date) => string>> = {
  daily: (at) => at.toISOString().slice(0, 10),
  // An ISO week is known by its Thursday, which never lies in another year than the week.
  weekly: (at) => {
    const weekday = (at.getUTCDay() + 6) % 7;
    return new Date(at.getTime() + (3 - weekday) * DAY_MS).toISOString().slice(0, 10);
  },
  monthly: (at) => at.toISOString().slice(0, 7),
};

/** The ids that are kept. The newest one always is. */
export function kept(snapshots: readonly Dated[], retention: Retention): Set<string> {
  const newestFirst = [...snapshots].sort((a, b) => b.at.getTime() - a.at.getTime());
  const ids = new Set(newestFirst.slice(0, 1).map(({ id }) => id));
  for (const [name, periodOf] of Object.entries(PERIODS)) {
    const seen = new Set<string>();
    for (const { id, at } of newestFirst) {
      const period = periodOf(at);
      if (seen.has(period)) continue;
      if (seen.size >= retention[name as keyof Retention]) break;
      seen.add(period);
      ids.add(id);
    }
  }
  return ids;
}
