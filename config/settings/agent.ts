// The section agent: where the one agent of a VM listens. What it does is set in the sections of its chores. Pure.

import { host, port, room } from './field.ts';

/** The section agent. */
export const agent = room({
  host: host('127.0.0.1', 'The address of the agent; on a fleet, the private address of the VM.'),
  port: port(8001, 'The port of the agent.'),
});
