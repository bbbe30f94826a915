// The section balancer: its ports, its queue, whom it believes and how it checks workers. Groups within it that are a
// noun of their own have a file each. Pure.

import { z } from 'zod';
import { isNetwork } from '../address.ts';
import { apiKeys } from './api-keys.ts';
import { cache } from './cache.ts';
import { duration, flag, host, list, oneOf, port, room, secret, secretFile, size, whole } from './field.ts';
import { rateLimit } from './rate-limit.ts';
import { tls } from './tls.ts';

/** An origin as browsers send it, in its one spelling; `https://*.example.com` is every name below that domain. */
const pageOrigin = z.string().transform((value, context) => {
  const text = value.trim().toLowerCase().replace(/\/$/, '');
  if (text === '*') return text;
  const [, scheme = '', wildcard = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)$/.exec(text) ?? [];
  // A browser leaves out the port that goes without saying.
  const usual = { http: /:80$/, https: /:443$/ }[scheme];
  if (rest !== '') return `${scheme}://${wildcard}${usual ? rest.replace(usual, '') : rest}`;
  context.addIssue({ code: 'custom', message: 'not an origin' });
  return z.NEVER;
});

const network = z.string().trim().refine(isNetwork);

/** The section balancer. */
export const balancer = room({
  host: host('0.0.0.0', 'The address that clients reach.'),
  port: port(8080, 'The public port.'),
  admin_host: host('127.0.0.1', 'The address of the admin port.'),
  admin_port: port(8081, 'The port of /metrics, /internal/stats and the admin API.'),
  admin_token: secret('What callers of /admin/* on the admin port must send as a bearer token.'),
  admin_token_file: secretFile('A file that holds balancer.admin_token.'),
  deadline: duration('60s', '100ms', '10m', 'The deadline of a request that comes without X-Deadline-Ms.'),
  queue_length: whole(1000, 0, 100_000, 'How many pictures may wait for a slot; more are refused at once.'),
  order: oneOf(
    ['cost', 'fifo', 'lifo-overload'],
    'cost',
    'The order of the queue: cost lets small pictures pass large ones within reason, fifo keeps the order of arrival, lifo-overload serves the newest first while the oldest has waited longer than overload_wait.',
  ),
  overload_wait: duration(
    '1s',
    '10ms',
    '1m',
    'With order lifo-overload: how long the oldest may wait before the newest are served first.',
  ),
  upload_timeout: duration('60s', '1s', '10m', 'How long one upload may take.'),
  upload_min_rate: size('1KiB', '0B', '10MiB', 'Bytes a second below which an upload is cut, after 5 s.'),
  buffer_budget: size(
    '512MiB',
    '16MiB',
    '64GiB',
    'Memory for all uploads and answers that are under way; beyond it new uploads go to disk.',
  ),
  spill_budget: size(
    '2GiB',
    '0B',
    '1000GiB',
    'Disk for uploads, in data_dir/uploads, when buffer_budget is full; beyond it they are refused.',
  ),
  rate_limit: rateLimit,
  trusted_proxies: list(z.array(network).max(1000), {
    sentence:
      'The proxies in front of the balancer whose word on the client address counts. Nobody is trusted by default, not even loopback.',
    allowed: 'a list of addresses and CIDRs; not /0, which is everybody',
    example: '["10.0.0.0/8", "2001:db8::5"]',
  }),
  forwarded_header: oneOf(
    ['x-forwarded-for', 'forwarded'],
    'x-forwarded-for',
    'The header in which the trusted proxies pass on the client address; the other one is never read.',
  ),
  api_keys: apiKeys,
  api_keys_required: flag(
    true,
    'With api_keys: whether pictures without a key are refused; false lets them in under rate_limit.',
  ),
  cors: list(z.array(pageOrigin).max(1000), {
    sentence: 'Origins of web pages that may call from a browser; [] allows none.',
    allowed:
      'a list of origins (scheme://host[:port], https://*.example.com for every name below it), or "*"',
    example: '["https://app.example.com"]',
  }),
  check_interval: duration('500ms', '50ms', '1m', 'How often each agent and worker is checked.'),
  check_timeout: duration('500ms', '50ms', '1m', 'How long a check may take before it counts as failed.'),
  rise: whole(2, 1, 10, 'Passing checks in a row that bring an upstream back.'),
  fall: whole(2, 1, 10, 'Failed checks in a row that eject an upstream.'),
  min_available: whole(
    1,
    0,
    1000,
    'How many nodes must stay in service when an operator drains or removes one.',
  ),
  drain_grace: duration(
    '5s',
    '0s',
    '1m',
    'How long a leaving balancer keeps idle keep-alive connections open.',
  ),
  tls,
  cache,
});
