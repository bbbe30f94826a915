// What Alertmanager says in one call of its webhook, and when two calls say the same. Pure.

import { z } from 'zod';

const labels = z.record(z.string(), z.string());

/** Alertmanager's webhook, version 4; what is not needed here is left out. */
export const noticeSchema = z.object({
  version: z.literal('4'),
  groupKey: z.string(),
  truncatedAlerts: z.number().int().min(0).default(0),
  status: z.enum(['firing', 'resolved']),
  groupLabels: labels,
  commonLabels: labels,
  alerts: z
    .array(
      z.object({
        status: z.enum(['firing', 'resolved']),
        labels,
        annotations: labels,
        startsAt: z.string(),
        endsAt: z.string(),
        fingerprint: z.string(),
      }),
    )
    .min(1)
    .max(1000),
});

/** One call: alerts of one group. */
export type Notice = z.infer<typeof noticeSchema>;
export type Alert = Notice['alerts'][number];

/** Equal for two calls that say the same of the same alerts: a second Alertmanager, or the same one that tries again. */
export function identityOf({ groupKey, alerts }: Notice): string {
  const each = alerts
    .map(({ fingerprint, status, startsAt }) => `${fingerprint} ${status} ${startsAt}`)
    .sort();
  return JSON.stringify([groupKey, ...each]);
}
