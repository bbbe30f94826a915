// The section autoscale: when VMs are parked and woken, and by which programs. How many workers a VM has is scale.ts's.
// Pure.

import { z } from 'zod';
import { duration, list, oneOf, percent, room, whole } from './field.ts';

/** A program of the operator by its absolute path, and its arguments. */
const program = (sentence: string, example: string) =>
  list(
    z
      .array(z.string().min(1).max(4096))
      .max(100)
      .refine(([path]) => path === undefined || path.startsWith('/')),
    {
      sentence,
      allowed: 'a list of words: the absolute path of a program, and its arguments',
      example,
    },
  );

/** The section autoscale. */
export const autoscale = room({
  wake: program(
    'What starts a VM, for toonfleet autoscale: it is told which in its environment; empty never wakes one.',
    '["/etc/toonfleet/vm", "start"]',
  ),
  park: program(
    'What stops a VM that has been drained, in the same manner; empty never parks one.',
    '["/etc/toonfleet/vm", "stop"]',
  ),
  hook_timeout: duration('5m', '100ms', '1h', 'How long either may take before it is killed.'),
  ready_within: duration(
    '5m',
    '1s',
    '1h',
    'How long a VM that was woken may take until it draws; then it counts as failed.',
  ),
  drain_within: duration(
    '2m',
    '0s',
    '10m',
    'How long a VM may take to finish what it has before it is parked; then it works on.',
  ),
  cool_down: duration('5m', '0s', '24h', 'The pause after each move, also after one that failed.'),
  interval: duration('15s', '1s', '10m', 'How often the fleet is looked at.'),
  min: whole(1, 1, 1000, 'The fewest nodes that stay in service; balancer.min_available holds too.'),
  nodes: list(z.array(z.string().regex(/^[A-Za-z0-9[][A-Za-z0-9.:_[\]-]{0,99}$/)).max(1000), {
    sentence:
      'The nodes that may be parked and woken; [] is all, and then only those are woken that were parked here.',
    allowed: 'a list of names, or HOST:PORT of agents',
    example: '["vm-3", "vm-4"]',
  }),
  spare: oneOf(
    ['none', 'node', 'zone'],
    'none',
    'What a park has to leave enough without: node is the largest node of each zone, zone the largest zone.',
  ),
  slots: percent(70, 0, 'How many of all slots should be taken, in percent; 0 does not look at it.'),
  queue_length: whole(50, 0, 100_000, 'How many pictures may wait in the balancer; 0 does not look at it.'),
  mean_response: duration('30s', '0s', '10m', 'What a picture may take on average; 0s does not look at it.'),
  queue_wait: duration('0s', '0s', '10m', 'How long pictures may wait for a slot; 0s does not look at it.'),
  p95: duration('0s', '0s', '10m', 'What 95 of 100 pictures may take at most; 0s does not look at it.'),
  tolerance: percent(10, 0, 'How far a signal may be from its target, in percent, before anything is done.'),
  up_after: duration('0s', '0s', '1h', 'A VM is woken only when it was asked for all this time.'),
  down_after: duration('10m', '0s', '24h', 'A VM is parked only when it was not asked for all this time.'),
});
