// The section keepalived: the address that balancers share, and who has it when. Its daemon's text is not made here.
// Pure.

import { z } from 'zod';
import { duration, list, room, text, whole } from './field.ts';

/** The section keepalived. */
export const keepalived = room({
  interface: text(
    '',
    /^[A-Za-z0-9._@-]{0,15}$/,
    'the name of a network interface',
    'eth0',
    'The network interface that gets the address shared by two balancers.',
  ),
  address: text(
    '',
    /^([0-9a-fA-F.:]+\/\d{1,3})?$/,
    'an address with its prefix length',
    '10.0.0.100/24',
    'That address.',
  ),
  source: text(
    '',
    /^[0-9a-fA-F.:]*$/,
    'an IP address',
    '10.0.0.10',
    "This machine's own address, from which it tells the others that it is alive.",
  ),
  peers: list(z.array(z.string().regex(/^[0-9a-fA-F.:]+$/)), {
    sentence: "The other balancers' own addresses.",
    allowed: 'a list of IP addresses',
    example: '["10.0.0.20"]',
  }),
  priority: whole(
    100,
    1,
    254,
    'The machine with the highest priority gets the address; each needs a different one.',
  ),
  router_id: whole(
    51,
    1,
    255,
    'The number of this group, the same for all in it and for nobody else in the network.',
  ),
  advert_interval: duration(
    '300ms',
    '50ms',
    '10s',
    'How often the machine that has the address says so; after three times as long in silence, another one takes it.',
  ),
  preempt_delay: duration(
    '0s',
    '0s',
    '1000s',
    'How long a machine of higher priority has been alive before it takes the address back; 0s leaves it where it is.',
  ),
  notify: text(
    '',
    /^(\/[^"$\s]*)?$/,
    'an absolute path without blanks',
    '/etc/toonfleet/move-address',
    'A program that is told of every change, such as one that moves the address in a cloud; owned by root, run as keepalived says.',
  ),
});
