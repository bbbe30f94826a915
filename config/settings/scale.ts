// The group worker.scale: how many workers a VM has, and by which signals. How many VMs there are is autoscale.ts's. Pure.

import { z } from 'zod';
import { isCron, isTimeZone } from '../cron-window.ts';
import { fault } from './fault.ts';
import { autoWhole, duration, flag, list, percent, room, text, whole } from './field.ts';

const cron = z.string().refine(isCron);

/** A time of the day, week or year in which other bounds hold. */
const lowPeak = z
  .strictObject({
    from: cron,
    to: cron,
    min: z.number().int().min(1).max(256).default(1),
    max: z.number().int().min(1).max(256).default(1),
  })
  .refine(({ from, to, min, max }) => from !== to && min <= max);

/** The group worker.scale. */
export const scale = room({
  enabled: flag(
    false,
    'Whether the agent runs as many workers as the signals below call for; worker.count is then what it starts with.',
  ),
  min: whole(1, 1, 256, 'The fewest workers that scaling keeps.'),
  max: autoWhole(
    1,
    256,
    'one for each core that this process may use',
    'The most workers that scaling, or toonfleet scale N, may start; mind the memory of each.',
  ),
  cpu: percent(
    70,
    0,
    'How much of its core each worker should keep busy, in percent of CPU time; 0 ignores it.',
  ),
  queue_length: whole(
    50,
    0,
    100_000,
    'How many pictures may wait in the balancers; 0 ignores it, as it must be where nginx is the front.',
  ),
  mean_response: duration(
    '30s',
    '0s',
    '10m',
    'How long a picture may take on average, from its first byte to its answer; 0s ignores it.',
  ),
  queue_wait: duration('0s', '0s', '10m', 'How long pictures may wait for a slot on average; 0s ignores it.'),
  p95: duration('0s', '0s', '10m', 'How long 95 of 100 pictures may take at most; 0s ignores it.'),
  tolerance: percent(10, 0, 'How far a signal may be from its target, in percent, before anything is done.'),
  interval: duration('15s', '1s', '10m', 'How often it is judged, and over how long CPU time is measured.'),
  up_after: duration(
    '0s',
    '0s',
    '1h',
    'Workers are added only when they have been needed all this time; the lowest number counts.',
  ),
  down_after: duration(
    '5m',
    '0s',
    '24h',
    'Workers are removed only when they have not been needed all this time; the highest number counts.',
  ),
  time_zone: text(
    'UTC',
    /^[A-Za-z0-9+_/-]{1,60}$/,
    'a time zone of the IANA database',
    'Asia/Shanghai',
    'The time zone of low_peak.',
  ).refine(isTimeZone),
  low_peak: list(z.array(lowPeak).max(50), {
    sentence: 'Times in which other bounds than min and max hold; of several at once, the first one counts.',
    allowed:
      'a list of {from: CRON, to: CRON, min: 1-256, max: 1-256}; CRON has five fields (minute, hour, day, month, weekday) of numbers or names, max is not below min, and from and to differ',
    example: '[{"from": "0 1 * * *", "to": "0 6 * * *", "min": 1, "max": 1}]',
  }),
});

/** Bounds that contradict each other, or that the worker ports have no room for. */
export function scaleContradictions(
  { enabled, min, max }: z.output<typeof scale>,
  { port_first, port_last }: { readonly port_first: number; readonly port_last: number },
): string[] {
  if (max === 'auto') return [];
  const faults: string[] = [];
  if (max < min)
    faults.push(
      fault(
        'worker.scale.max',
        String(max),
        `not below worker.scale.min (${min})`,
        `worker.scale.max: ${min}`,
      ),
    );
  const ports = port_last - port_first + 1;
  if (enabled && ports >= 2 && ports < 2 * max)
    faults.push(
      fault(
        'worker.scale.max',
        String(max),
        `at most ${Math.floor(ports / 2)}, since a reload holds twice as many workers and the ports from worker.port_first to worker.port_last are ${ports}`,
        `worker.port_last: ${port_first + 2 * max - 1}`,
      ),
    );
  return faults;
}
