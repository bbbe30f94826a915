// The group balancer.cache: whether drawn pictures are kept, where and how long. What makes two requests equal is not
// known here. Pure.

import { duration, flag, room, secret, secretFile, size, text } from './field.ts';

/** The group balancer.cache. */
export const cache = room({
  enabled: flag(
    false,
    'Whether pictures are kept and served again for the same photo; also written as balancer.cache: true.',
  ),
  size: size('256MiB', '1MiB', '64GiB', 'Memory for kept pictures, beside buffer_budget.'),
  ttl: duration('24h', '1s', '30d', 'How long a picture is kept.'),
  redis_url: text(
    '',
    /^(rediss?:\/\/([^\s/:@?#]+@)?([0-9a-zA-Z._-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(\/\d{1,4})?)?$/,
    'redis://[USER@]HOST:PORT[/DB] without a password, rediss:// for TLS, or nothing',
    'redis://10.0.0.5:6379/0',
    'A Redis in which balancers share kept pictures; empty keeps them in memory only.',
  ),
  redis_password: secret('The password of that Redis.', 1),
  redis_password_file: secretFile('A file that holds balancer.cache.redis_password.'),
  redis_timeout: duration(
    '100ms',
    '1ms',
    '5s',
    'How long a picture waits for that Redis before it is drawn.',
  ),
});
