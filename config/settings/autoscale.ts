// The section autoscale: when VMs are parked and woken, and by which programs. How many workers a VM has is scale.ts's.
// Pure.

import { z } from 'zod';
import { duration, HOST_PORT, list, oneOf, percent, room, whole } from './field.ts';

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
    'The program with which toonfleet autoscale starts a VM; its environment says which one. Empty never wakes one.',
    '["/etc/toonfleet/vm", "start"]',
  ),
  park: program(
    'The program that stops a drained VM, in the same way; empty never parks one.',
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
    'How long a VM may take to finish what it has before it is parked; after that it goes on working.',
  ),
  cool_down: duration('5m', '0s', '24h', 'The pause after each move, also after one that failed.'),
  interval: duration('15s', '1s', '10m', 'How often the fleet is looked at.'),
  min: whole(1, 1, 1000, 'The fewest nodes that stay in service; balancer.min_available applies too.'),
  balancers: list(z.array(z.string().regex(HOST_PORT)).max(100), {
    sentence:
      "The admin ports of all balancers, since each knows only its own pictures; [] is this machine's own.",
    allowed: 'a list of HOST:PORT',
    example: '["10.0.0.10:8081", "10.0.0.20:8081"]',
  }),
  nodes: list(z.array(z.string().regex(/^[A-Za-z0-9[][A-Za-z0-9.:_[\]-]{0,99}$/)).max(1000), {
    sentence:
      'The nodes that may be parked and woken; [] means all, and then only those that autoscale has parked are woken.',
    allowed: 'a list of names, or HOST:PORT of agents',
    example: '["vm-3", "vm-4"]',
  }),
  spare: oneOf(
    ['none', 'node', 'zone'],
    'none',
    'What the rest must be enough without, after a node is parked: the largest node of each zone (node), or the largest zone (zone).',
  ),
  slots: percent(70, 0, 'How many of all slots should be taken, in percent; 0 ignores it.'),
  queue_length: whole(50, 0, 100_000, 'How many pictures may wait in the balancer; 0 ignores it.'),
  mean_response: duration('30s', '0s', '10m', 'How long a picture may take on average; 0s ignores it.'),
  queue_wait: duration('0s', '0s', '10m', 'How long pictures may wait for a slot; 0s ignores it.'),
  p95: duration('0s', '0s', '10m', 'How long 95 of 100 pictures may take at most; 0s ignores it.'),
  tolerance: percent(10, 0, 'How far a signal may be from its target, in percent, before anything is done.'),
  up_after: duration('0s', '0s', '1h', 'A VM is woken only when it has been needed all this time.'),
  down_after: duration('10m', '0s', '24h', 'A VM is parked only when it has not been needed all this time.'),
});
