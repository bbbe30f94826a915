// The section logs: when a log on this machine counts as grown too large. How it is turned is the agent's. Pure.

import { room, size } from './field.ts';

/** The section logs. */
export const logs = room({
  turn_at: size(
    '64MiB',
    '0B',
    '100GiB',
    'Once an hour the agent renames a log that has grown beyond this to FILE.log.1; 0B leaves the logs to logrotate.',
  ),
});
