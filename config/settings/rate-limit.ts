// The group balancer.rate_limit: what one client, and all together, may send. A key's own limits are api-keys.ts's.
// Pure.

import { duration, room, whole } from './field.ts';

/** The group balancer.rate_limit. */
export const rateLimit = room({
  requests: whole(
    0,
    0,
    1_000_000,
    'How many pictures one client (an address, or an API key without limits of its own) may send in the time of per; 0 sets no such limit.',
  ),
  per: duration('1m', '1s', '24h', 'The time in which a client may send requests pictures.'),
  burst: whole(0, 0, 1_000_000, 'How many of them it may send at once; 0 means as many as requests.'),
  concurrent: whole(
    0,
    0,
    100_000,
    'How many pictures of one client may be under way at the same time; 0 sets no such limit.',
  ),
  ipv6_prefix: whole(
    64,
    32,
    128,
    'IPv6 addresses that share this many leading bits are one client: a household has 2^64 addresses.',
  ),
  clients: whole(
    50_000,
    100,
    1_000_000,
    'How many addresses are remembered at once, at about 500 bytes each; while all of them are in use, newcomers share the limits of their network.',
  ),
  total: room({
    requests: whole(
      0,
      0,
      10_000_000,
      'How many pictures all clients together may send in the time of per; 0 sets no such limit.',
    ),
    per: duration('1m', '1s', '24h', 'The time in which all clients may send requests pictures.'),
    burst: whole(0, 0, 10_000_000, 'How many of them they may send at once; 0 is as many as requests.'),
    concurrent: whole(
      0,
      0,
      1_000_000,
      'How many pictures of all clients may be under way at the same time; 0 sets no such limit.',
    ),
  }),
});
