// The sections nodes and upstreams: where a balancer finds its workers. Whether they live is not known here. Pure.

import { z } from 'zod';
import { list, origin } from './field.ts';

/** The section nodes: VMs, each by its agent. */
export const nodes = list(
  z.array(
    z.strictObject({
      agent: origin,
      ssh: z
        .string()
        .regex(/^([a-z_][a-z0-9_-]{0,31}@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/)
        .optional(),
    }),
  ),
  {
    sentence: "The fleet: each node's agent. With neither nodes nor upstreams, the agent of this machine.",
    allowed:
      "a list of {agent: http://HOST:PORT, ssh: [USER@]HOST[:PORT]}; ssh is how a rollout gets there when it is not the agent's host",
    example: '[{"agent": "http://10.0.0.11:8001"}]',
  },
);

/** The section upstreams: workers without an agent. */
export const upstreams = list(
  z.array(
    z.strictObject({
      url: origin,
      slots: z.number().int().min(1).max(1000).default(1),
      release: z.string().min(1).max(64).optional(),
    }),
  ),
  {
    sentence: 'Workers without an agent.',
    allowed: 'a list of {url: http://HOST:PORT, slots: 1-1000, release: NAME}, the last two as wished',
    example: '[{"url": "http://10.0.0.12:8100", "slots": 1}]',
  },
);
